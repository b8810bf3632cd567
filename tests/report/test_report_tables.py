"""The report's numbers: hand-worked means and differences, and what cannot be joined."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from nnunet_spine_ext.errors import DataError, SpineExtError
from nnunet_spine_ext.evaluation.metrics import METRICS
from nnunet_spine_ext.evaluation.sources import Sources
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, UNION
from nnunet_spine_ext.report.cautions import cautions
from nnunet_spine_ext.report.figures import Box, Series, box_plot
from nnunet_spine_ext.report.results import Spread, read_results
from nnunet_spine_ext.report.tables import as_text, case_table, pairs, shown, structure_table, summary
from tests.report.fake import two_models, write_table

NAN = math.nan
DICE = METRICS["dice"]


def test_spread_is_mean_and_sample_deviation_of_the_values_that_are_there() -> None:
    assert Spread.of([0.2, NAN, 0.6]) == Spread(mean=0.4, sd=pytest.approx(statistics.stdev([0.2, 0.6])), n=2)  # type: ignore[arg-type]
    one, none = Spread.of([0.5]), Spread.of([NAN])
    assert (one.mean, one.n, math.isnan(one.sd)) == (0.5, 1, True)
    assert (math.isnan(none.mean), none.n) == (True, 0)


def test_summary_is_over_cases_of_the_mean_over_structures(tmp_path: Path) -> None:
    a, b = summary(read_results(two_models(tmp_path)))
    # A: cases 0.8, 0.8 (S left out), 0.4. B: 0.6, 0.9, 0.4.
    assert a.cells[0].spread.mean == pytest.approx(2 / 3)
    assert a.cells[0].spread.sd == pytest.approx(statistics.stdev([0.8, 0.8, 0.4]))
    assert b.cells[0].spread.mean == pytest.approx(1.9 / 3)
    assert (a.cells[0].best, b.cells[0].best) == (True, False)
    assert (a.cases, a.left_out, a.values) == (3, 1, 6)
    assert math.isnan(a.cells[-1].spread.mean)  # no challenge score in these tables


def test_case_counts_with_its_mean_not_its_median(tmp_path: Path) -> None:
    rows = [("A", "c", label, "dice", value) for label, value in (("L5", 0.9), ("L4", 0.8), ("S", 0.1))]
    (row,) = summary(read_results([write_table(tmp_path / "t.csv", rows)]))
    assert row.cells[0].spread.mean == pytest.approx(0.6)


def test_structure_table_counts_the_values_of_each_structure(tmp_path: Path) -> None:
    table = structure_table(read_results(two_models(tmp_path)), DICE)
    rows = dict(table.rows)
    assert list(rows) == ["L5", "S", UNION]
    assert [cell.spread.mean for cell in rows["L5"]] == pytest.approx([2.3 / 3, 2.0 / 3])
    assert [cell.spread.n for cell in rows["S"]] == [2, 2]
    assert [cell.best for cell in rows["S"]] == [False, False]  # a tie has no best


def test_smaller_distance_from_zero_is_better_where_zero_is_good(tmp_path: Path) -> None:
    rows = [("A", "c", "L5", "volume_difference_ml", 3.0), ("B", "c", "L5", "volume_difference_ml", -2.0)]
    table = structure_table(read_results([write_table(tmp_path / "t.csv", rows)]), METRICS["volume_difference_ml"])
    assert [cell.best for cell in table.rows[0][1]] == [False, True]


def test_pairs_compare_case_by_case(tmp_path: Path) -> None:
    (pair,) = pairs(read_results(two_models(tmp_path)))
    # B - A: -0.2, +0.1, 0.
    assert pair.difference.mean == pytest.approx(-0.1 / 3)
    assert pair.difference.sd == pytest.approx(statistics.stdev([-0.2, 0.1, 0.0]))
    assert (pair.second_better, pair.equal, pair.first_better, pair.difference.n) == (1, 1, 1, 3)


def test_pairs_use_only_common_cases(tmp_path: Path) -> None:
    rows = [("A", "c1", "L5", "dice", 0.5), ("A", "c2", "L5", "dice", 0.1), ("B", "c1", "L5", "dice", 0.7)]
    results = read_results([write_table(tmp_path / "t.csv", rows)])
    (pair,) = pairs(results)
    assert (pair.difference.n, pair.difference.mean) == (1, pytest.approx(0.2))
    assert any("same cases (A 2, B 1; 1 in common)" in caution for caution in cautions(results, [], title=""))


def test_worst_case_comes_first_and_a_case_without_value_last(tmp_path: Path) -> None:
    rows = [("A", "good", "L5", "dice", 0.9), ("A", "bad", "L5", "dice", 0.1), ("A", "none", "L5", "dice", "")]
    assert [case for case, _ in case_table(read_results([write_table(tmp_path / "t.csv", rows)]))] == [
        "bad",
        "good",
        "none",
    ]


def test_folds_of_a_model_are_joined(tmp_path: Path) -> None:
    files = [write_table(tmp_path / f"{i}.csv", [("A", f"c{i}", "L5", "dice", 0.2 * i)]) for i in range(3)]
    (row,) = summary(read_results(files))
    assert (row.cases, row.cells[0].spread.mean) == (3, pytest.approx(0.2))


def test_structure_called_na_is_a_structure(tmp_path: Path) -> None:
    results = read_results([write_table(tmp_path / "t.csv", [("None", "007", "NA", "dice", 0.5)])])
    assert (results.models, results.cases, results.structures) == (("None",), ("007",), ("NA",))


def test_same_case_twice_is_refused(tmp_path: Path) -> None:
    a, _ = two_models(tmp_path)
    with pytest.raises(SpineExtError, match="Case c1 of model A"):
        read_results([a, write_table(tmp_path / "again.csv", [("A", "c1", "L5", "dice", 0.1)])])
    with pytest.raises(DataError, match="twice"):
        read_results([write_table(tmp_path / "t.csv", [("A", "c1", "L5", "dice", 0.1)] * 2)])


def test_tables_of_different_datasets_are_refused(tmp_path: Path) -> None:
    other = write_table(tmp_path / "o.csv", [("C", "c1", "L5", "dice", 0.1)], dataset="Dataset502_Other")
    with pytest.raises(SpineExtError, match="Dataset501_Fake, Dataset502_Other"):
        read_results([*two_models(tmp_path), other])


def test_every_bad_table_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "columns.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    write_table(tmp_path / "word.csv", [("A", "c", "L5", "dice", 0.5), ("A", "c", "S", "dice", "good")])
    write_table(tmp_path / "none.csv", [])
    names = ["columns.csv", "empty.csv", "word.csv", "none.csv", "absent.csv"]
    with pytest.raises(DataError) as caught:
        read_results([tmp_path / name for name in names])
    told = {f.file.name: f.finding for f in caught.value.findings}
    assert set(told) == set(names)
    assert "'good' as a value in line 3" in told["word.csv"]
    with pytest.raises(SpineExtError, match="No table"):
        read_results([])


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.12345, "dice", "0.123"),
        (-1.5, "volume_difference_ml", "−1.50"),
        (12345.0, "reference_voxels", "12\N{THIN SPACE}345"),
        (NAN, "dice", "–"),
    ],
)
def test_numbers_are_printed_by_their_unit(value: float, metric: str, text: str) -> None:
    assert shown(value, METRICS[metric]) == text


def test_terminal_table_holds_the_means(tmp_path: Path) -> None:
    rows = [("A", "c", "L5", "dice", 0.25), ("A", "c", ALL_STRUCTURES, "challenge_dice", 0.75)]
    lines = as_text(read_results([write_table(tmp_path / "t.csv", rows)])).splitlines()
    assert [line.split()[1] for line in lines if line.strip().startswith("L5")] == ["0.250"]
    assert [line.split()[2] for line in lines if "challenge" in line] == ["0.750"]


def sources(**notes: str) -> Sources:
    here = Path()
    return Sources(
        dataset="D",
        model="A",
        predictions=here,
        references=here,
        images=None,
        file_ending=".nii.gz",
        labels={"L5": 1},
        notes=notes,
        versions={},
    )


def test_phantom_is_never_a_claim_about_accuracy(tmp_path: Path) -> None:
    results = read_results(two_models(tmp_path))
    for notes, title in (({"description": "A Phantom"}, ""), ({"synthetic": "True"}, ""), ({}, "Demo on a phantom")):
        assert "no claim about accuracy" in cautions(results, [sources(**notes)], title=title)[0]
    assert not any("accuracy" in caution for caution in cautions(results, [sources(source="chu")], title="Comparison"))


def test_few_cases_and_left_out_values_are_said(tmp_path: Path) -> None:
    told = " ".join(cautions(read_results(two_models(tmp_path)), [], title=""))
    assert "Only 3 cases" in told
    assert "2 of 12 Dice values" in told
    many = [("A", f"c{i}", "L5", "dice", 0.5) for i in range(50)]
    assert cautions(read_results([write_table(tmp_path / "m.csv", many)]), [], title="") == [
        "Only one model: nothing to compare it with."
    ]


def test_box_ends_at_the_last_value_within_the_reach() -> None:
    # Quartiles 2, 3, 4: reach 3 below 2 and above 4, so 8 is outside.
    assert Box.of([1.0, 2.0, 3.0, 4.0, 8.0]) == Box(low=1.0, first=2.0, median=3.0, third=4.0, high=4.0)


def test_plot_has_a_dot_per_value_and_says_where_there_is_none() -> None:
    values = (("c1", 0.5), ("c2", NAN), ("<c3>", 1.0))
    empty = Series(label="none", values=(("c1", NAN),), colour_index=1, name="B")
    svg = box_plot(
        [[Series(label="A&B", values=values, colour_index=0, name="A")], [empty]], title="t", axis="x", row_px=9
    )
    assert svg.count("<circle") == 2
    assert "c1: 0.500" in svg
    assert "&lt;c3&gt;: 1.000" in svg
    assert "A&amp;B" in svg
    assert svg.count("no value") == 1
