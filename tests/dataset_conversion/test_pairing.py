"""Images and labels are paired by a rule that fits all of them, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_conversion.pairing import AmbiguousNamesError, find_rule

WORKED = {
    "the same names": (["a", "b"], ["a", "b"], {"a": "a", "b": "b"}),
    "numbers that begin alike": (
        ["1", "10", "11", "2"],
        ["mask_1", "mask_10", "mask_11", "mask_2"],
        {"1": "mask_1", "10": "mask_10", "11": "mask_11", "2": "mask_2"},
    ),
    "both with additions": (
        ["case_07_T2", "case_08_T2"],
        ["seg-case_07", "seg-case_08"],
        {"case_07_T2": "seg-case_07", "case_08_T2": "seg-case_08"},
    ),
    "nnU-Net's own": (["s1_0000", "s2_0000"], ["s1", "s2"], {"s1_0000": "s1", "s2_0000": "s2"}),
    "capitals": (["Case1", "Case2"], ["mask_case1", "mask_case2"], {"Case1": "mask_case1", "Case2": "mask_case2"}),
    "one case": (["t2"], ["t2_seg-manual"], {"t2": "t2_seg-manual"}),
    "one label missing": (["p1", "p2", "p3"], ["p1_m", "p3_m"], {"p1": "p1_m", "p3": "p3_m"}),
    "names that would also fit one off": (
        ["x1", "x2", "x3"],
        ["x1", "x2", "x3"],
        {"x1": "x1", "x2": "x2", "x3": "x3"},
    ),
    "a digit in common by chance": (["scan_05", "scan_07"], ["00", "11"], {}),
    "nothing in common": (["a", "b"], ["1", "2"], {}),
}


@pytest.mark.parametrize("kind", WORKED)
def test_worked_examples(kind: str) -> None:
    images, labels, expected = WORKED[kind]
    assert find_rule(images, labels).pairs(images, labels) == expected


def test_the_rule_is_said_as_a_user_would_say_it() -> None:
    rule = find_rule(["case_07_T2", "case_08_T2"], ["seg-case_07", "seg-case_08"])
    assert str(rule) == "images are called 'CASE_t2', labels 'seg-CASE'"


def test_two_rules_of_equal_worth_are_not_chosen_from() -> None:
    # 12 is the core of ab12 for 12cd, or ab of abcd: both rules pair one image with another label.
    with pytest.raises(AmbiguousNamesError, match=r"either images are called .* or images are called"):
        find_rule(["xab12"], ["yab", "12y"])


names = st.text("abcde0123456789", min_size=1, max_size=5)
additions = st.sampled_from(["", "_T2", "mask_", "-seg", "IMG", "0"])


@settings(max_examples=150, deadline=None)
@given(st.sets(names, min_size=2, max_size=8), additions, additions, additions, additions)
def test_what_is_paired_is_paired_by_one_rule_and_never_twice(
    cores: set[str], before: str, after: str, label_before: str, label_after: str
) -> None:
    images = [f"{before}{core}{after}" for core in cores]
    labels = [f"{label_before}{core}{label_after}" for core in cores]
    try:
        rule = find_rule(images, labels)
    except AmbiguousNamesError:
        return
    pairs = rule.pairs(images, labels)
    assert len(set(pairs.values())) == len(pairs)
    for image, label in pairs.items():
        core = rule.image.core(image)
        assert core is not None
        assert label.lower() == rule.label.around(core)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(100, 999), min_size=1, max_size=8), additions, additions)
def test_additions_to_the_labels_are_always_found(cores: set[int], before: str, after: str) -> None:
    truth = {str(core): f"{before}{core}{after}" for core in cores}
    assert find_rule(list(truth), list(truth.values())).pairs(list(truth), list(truth.values())) == truth
