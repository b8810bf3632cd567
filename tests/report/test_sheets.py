"""Tables as files: what a spreadsheet, a README and a paper get."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.report.sheet_files import as_csv, as_latex, as_markdown, write_sheets
from nnunet_spine_ext.report.sheets import Cell, Column, Sheet, fixed, name_cell, with_best

SHEET = Sheet(
    key="summary",
    caption="A & B: 50 % of cases",
    columns=(
        Column(key="model", heading="Model", numeric=False),
        Column(key="dice", heading="Dice_1", parts=("mean", "sd")),
        Column(key="n", heading="Cases"),
    ),
    rows=(
        (
            name_cell("A|B_2"),
            Cell(text="0.861", values=(0.86123, 0.0431), small="± 0.043", below="0.84 to 0.88", best=True),
            Cell(text="20", values=(20,)),
        ),
        (name_cell('C, "D"'), Cell(text="–", values=(math.nan, math.nan)), Cell(text="0", values=(0,))),
    ),
)


def test_csv_has_the_numbers_and_a_column_for_each() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(SHEET))))
    assert rows == [
        ["model", "dice_mean", "dice_sd", "n"],
        ["A|B_2", "0.86123", "0.0431", "20"],
        ['C, "D"', "", "", "0"],
    ]
    assert "\r" not in as_csv(SHEET)


def test_markdown_is_a_table_with_the_best_in_bold() -> None:
    assert as_markdown(SHEET).splitlines() == [
        r"| Model | Dice\_1 | Cases |",
        "| --- | ---: | ---: |",
        r"| A\|B\_2 | **0.861 ± 0.043 (0.84 to 0.88)** | 20 |",
        '| C, "D" | – | 0 |',
        "",
        "A & B: 50 % of cases",
    ]


def test_latex_escapes_what_latex_would_read() -> None:
    text = as_latex(SHEET)
    assert r"\caption{A \& B: 50 \% of cases}" in text
    assert r"Model & Dice\_1 & Cases \\" in text
    assert r"A|B\_2 & \textbf{0.861 $\pm$ 0.043 (0.84 to 0.88)} & 20 \\" in text
    assert r"\begin{tabular}{lrr}" in text
    for word in ("table", "tabular"):
        assert text.count(rf"\begin{{{word}}}") == text.count(rf"\end{{{word}}}") == 1
    assert text.isascii()


def test_files_are_whole_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    files = write_sheets([SHEET], tmp_path)
    assert sorted(f.name for f in files) == ["summary.csv", "summary.md", "summary.tex"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["mine.txt", "summary.csv", "summary.md", "summary.tex"]
    with pytest.raises(DataError, match=r"mine\.txt"):
        write_sheets([SHEET], tmp_path / "mine.txt")


def test_best_needs_a_choice() -> None:
    cells = [Cell(text=str(v), values=(v,)) for v in (1, 2, 2)]

    def marked(*worth: float) -> list[bool]:
        return [cell.best for cell in with_best(cells, worth)]

    assert marked(1.0, 2.0, 2.0) == [False, True, True]
    assert marked(2.0, 2.0, 2.0) == [False, False, False]
    assert marked(math.nan, 2.0, math.nan) == [False, False, False]
    assert marked(math.nan, 2.0, 1.0) == [False, True, False]


def test_numbers_have_a_proper_minus_and_thin_thousands() -> None:
    assert fixed(-1234.5, 1) == "−1\N{THIN SPACE}234.5"
    assert fixed(0.5, 2, sign=True) == "+0.50"
    assert fixed(math.nan, 2) == "–"
