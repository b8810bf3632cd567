"""The page names every change once, with its cases, however many there are."""

from __future__ import annotations

import re
from typing import Any

from nnunet_spine_ext.data.audit_page import audit_page

SPACE = "\N{NO-BREAK SPACE}"


def case(*changes: tuple[str, str], remarks: tuple[str, ...] = ()) -> dict[str, Any]:
    file = {"file": "a.nii.gz", "sha256": "0" * 64}
    image = {
        **file, "size_xyz": [4, 5, 6], "spacing_xyz_mm": [0.5, 0.5, 4.0], "orientation": "LPS", "dtype": "int16",
        "minimum": -3, "maximum": 7.25,
    }  # fmt: skip
    return {
        "source": {"number": "1", "patient": "1", "subset": "train"},
        "image": image,
        "label": {**file, "dtype": "uint8", "voxels_by_structure": {"L5": 12, "L4": 3}},
        "changes": [{"file": f, "repair": "r", "what": what, "why": "because"} for f, what in changes],
        "remarks": list(remarks),
        "written": {"image": file},
    }


def page_of(cases: dict[str, dict[str, Any]], *, changed: int) -> str:
    log = {
        "title": "Fake", "release": "1", "licence": "none", "citation": "none", "notes": [], "converted_by": "us",
        "summary": {
            "training": len(cases), "test": 0, "subsets": {"train": len(cases)}, "cases_with_changes": changed,
            "cases_with": {"r": changed}, "cases_with_remarks": 0,
        },
        "every_file": [], "repairs_switched_on": {}, "cases": cases,
    }  # fmt: skip
    return audit_page(log)


def rows(page: str, kind: str) -> list[list[str]]:
    return [
        re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
        for row in re.findall(rf'<tr class="{kind}">(.*?)</tr>', page, re.S)
    ]


def test_the_same_change_is_one_row_whatever_the_file() -> None:
    page = page_of(
        {
            "A": case(("image", "turned"), ("label", "turned")),
            "B": case(("image", "turned"), ("label", "turned"), ("label", "rounded")),
            "C": case(("image", "turned")),
        },
        changed=3,
    )
    assert rows(page, "changed") == [
        ["turned", "because", "image, label", "A, B"],
        ["rounded", "because", "label", "B"],
        ["turned", "because", "image", "C"],
    ]


def test_what_holds_for_all_cases_says_so() -> None:
    page = page_of({name: case(("image", "turned"), remarks=("odd",)) for name in "ABC"}, changed=3)
    assert rows(page, "changed") == [["turned", "because", "image", "all 3"]]
    assert rows(page, "remark") == [["odd", "remark", "all 3"]]


def test_a_single_case_is_named_and_counted_in_the_singular() -> None:
    page = page_of({"A": case(("image", "turned"))}, changed=1)
    assert rows(page, "changed") == [["turned", "because", "image", "A"]]
    assert f"1 case\n    (r:{SPACE}1)" in page
    assert f"L5:{SPACE}12, L4:{SPACE}3" in page
