"""Sheets as files: CSV for programs, Markdown for a README, LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from nnunet_spine_ext.data.files import make_folder, write_text
from nnunet_spine_ext.report.sheets import Cell, Sheet, Value

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "≥": r"$\geq$",
    "≤": r"$\leq$", "<": r"$<$", ">": r"$>$", "×": r"$\times$", "\N{THIN SPACE}": r"\,", "→": r"$\rightarrow$",
    "≈": r"$\approx$",
}  # fmt: skip
_NEVER_IN_MARKDOWN = str.maketrans({"|": r"\|", "\n": " ", "<": "&lt;", "*": r"\*", "_": r"\_"})


def write_sheets(sheets: Iterable[Sheet], folder: Path) -> list[Path]:
    """Write each sheet as `<key>.csv`, `<key>.md` and `<key>.tex`; files of other names stay.

    Returns:
        The files written.

    Raises:
        DataError: the folder or a file cannot be written.
    """
    make_folder(folder)
    written = []
    for sheet in sheets:
        for ending, form in ((".csv", as_csv), (".md", as_markdown), (".tex", as_latex)):
            file = folder / f"{sheet.key}{ending}"
            write_text(form(sheet), file)
            written.append(file)
    return written


def as_csv(sheet: Sheet) -> str:
    """Return the values of a sheet, a column for each part of a cell; a value that is not there is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [f"{column.key}_{part}" if part else column.key for column in sheet.columns for part in column.parts]
    )
    for row in sheet.rows:
        writer.writerow([_plain(value) for cell in row for value in cell.values])
    return stream.getvalue()


def as_markdown(sheet: Sheet) -> str:
    """Return a sheet as a pipe table, the best in bold."""
    heads = [column.heading.translate(_NEVER_IN_MARKDOWN) for column in sheet.columns]
    rules = ["---:" if column.numeric else "---" for column in sheet.columns]
    rows = [[_bold(cell.in_words.translate(_NEVER_IN_MARKDOWN), "**{}**", cell) for cell in row] for row in sheet.rows]
    lines = [f"| {' | '.join(line)} |" for line in (heads, rules, *rows)]
    return "\n".join([*lines, "", sheet.caption.translate(_NEVER_IN_MARKDOWN), ""])


def as_latex(sheet: Sheet) -> str:
    """Return a sheet as a table environment with booktabs' rules, the best in bold."""
    form = "".join("r" if column.numeric else "l" for column in sheet.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_latex(sheet.caption)}}}",
        f"  \\begin{{tabular}}{{{form}}}",
        "    \\toprule",
        f"    {' & '.join(_latex(column.heading) for column in sheet.columns)} \\\\",
        "    \\midrule",
        *(f"    {' & '.join(_latex_cell(cell) for cell in row)} \\\\" for row in sheet.rows),
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join([*lines, ""])


def _plain(value: Value) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else repr(value)


def _bold(text: str, form: str, cell: Cell) -> str:
    return form.format(text) if cell.best else text


def _latex_cell(cell: Cell) -> str:
    return _bold(_latex(cell.in_words), r"\textbf{{{}}}", cell)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
