"""Label tables of other programs: written beside every converted dataset, read where a user brings one.

    labels.label   ITK-SNAP   id red green blue alpha visible mesh "name"
    labels.ctbl    3D Slicer  id name red green blue alpha; a space in a name is written as _
    also read      JSON       {"name": id}, {"id": "name"}, or a dataset.json of nnU-Net
                   CSV        id,name with or without a heading

Colours are those of the reports (`colours`).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data.colours import shaded_colour
from nnunet_spine_ext.data.files import write_text
from nnunet_spine_ext.errors import DataError, Finding

SNAP_FILE = "labels.label"
SLICER_FILE = "labels.ctbl"
_BACKGROUND = {"background", "clear label", "clear_label"}
_SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""
_SNAP_LINE = re.compile(r'\s*(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+[01]\s+[01]\s+"(.*)"\s*')
_SLICER_LINE = re.compile(r"\s*(\d+)\s+(\S+)(?:\s+\d+){4}\s*")


def write_label_files(labels: Mapping[str, int], folder: Path) -> None:
    """Write both files for a table name → id, background included.

    Raises:
        DataError: they cannot be written.
    """
    write_text(itksnap_text(labels), folder / SNAP_FILE)
    write_text(slicer_text(labels), folder / SLICER_FILE)


def itksnap_text(labels: Mapping[str, int]) -> str:
    """Return the label descriptions for ITK-SNAP."""
    lines = ['    0     0    0    0        0  0  0    "Clear Label"']
    for position, (name, i) in enumerate(_foreground(labels)):
        red, green, blue = shaded_colour(position)
        lines.append(f'{i:5d} {red:5d}{green:5d}{blue:5d}        1  1  1    "{name}"')
    return _SNAP_HEAD + "\n".join(lines) + "\n"


def slicer_text(labels: Mapping[str, int]) -> str:
    """Return the colour table for 3D Slicer."""
    lines = ["# Color table file", "# id name red green blue alpha", "0 background 0 0 0 0"]
    for position, (name, i) in enumerate(_foreground(labels)):
        red, green, blue = shaded_colour(position)
        lines.append(f"{i} {name.replace(' ', '_')} {red} {green} {blue} 255")
    return "\n".join(lines) + "\n"


def read_label_table(path: Path) -> dict[int, str]:
    """Return id → name of a user's label table, background left out.

    Raises:
        DataError: the file cannot be read, or is no such table; names every line that is wrong.
    """
    readers: dict[str, Callable[[str], Iterable[tuple[Any, Any]]]] = {
        ".json": _from_json,
        ".csv": _from_csv,
        ".label": _from_itksnap,
        ".txt": _from_itksnap,
        ".ctbl": _from_slicer,
    }
    remedy = "Write a CSV with two columns, id and name; or JSON, ITK-SNAP's .label or Slicer's .ctbl."
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError.of(path, "is no label table that can be read (.json, .csv, .label, .ctbl)", remedy)
    try:
        entries = list(reader(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError.of(path, f"is no label table ({error})", remedy) from error
    return _checked(path, entries)


def _foreground(labels: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the labels in the order of their ids, each name fit for a line of text."""
    return [(re.sub(r'["\s]+', " ", name), i) for name, i in sorted(labels.items(), key=lambda item: item[1]) if i]


def _from_json(text: str) -> Iterable[tuple[Any, Any]]:
    content = json.loads(text)
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        content = content["labels"]  # nnU-Net's dataset.json
    if isinstance(content, list):
        return [(entry["id"], entry["name"]) for entry in content]
    if all(isinstance(value, str) for value in content.values()):
        return [(key, value) for key, value in content.items()]
    return [(value, key) for key, value in content.items()]


def _from_csv(text: str) -> Iterable[tuple[Any, Any]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    if not rows:
        return []
    heading = [cell.lower() for cell in rows[0]]
    if "id" in heading and "name" in heading:
        number, name = heading.index("id"), heading.index("name")
        return [(row[number], row[name]) for row in _long_enough(rows[1:], max(number, name))]
    return [(row[0], row[1]) for row in _long_enough(rows, 1)]


def _long_enough(rows: list[list[str]], last: int) -> list[list[str]]:
    for row in rows:
        if len(row) <= last:
            raise ValueError(f"the line {','.join(row)!r} has too few columns")
    return rows


def _from_itksnap(text: str) -> Iterable[tuple[Any, Any]]:
    return _matched(text, _SNAP_LINE)


def _from_slicer(text: str) -> Iterable[tuple[Any, Any]]:
    return [(i, name.replace("_", " ")) for i, name in _matched(text, _SLICER_LINE)]


def _matched(text: str, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = pattern.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number} is not understood: {line.strip()!r}")
        found.append((match[1], match[2]))
    return found


def _checked(path: Path, entries: Iterable[tuple[Any, Any]]) -> dict[int, str]:
    """Return the table, if every id and every name is one and occurs once."""
    table: dict[int, str] = {}
    wrong = []
    for given, name in entries:
        if isinstance(given, (bool, float)) or not re.fullmatch(r"\d+", str(given)):
            wrong.append(f"{given!r} (of {name!r}) is no id")
            continue
        i, name = int(given), str(name).strip()
        if i == 0 or name.lower() in _BACKGROUND:
            wrong += [] if i == 0 else [f"the background has the id {i} instead of 0"]
        elif not name:
            wrong.append(f"the id {i} has no name")
        elif i in table:
            wrong.append(f"the id {i} is there twice")
        elif name in table.values():
            wrong.append(f"the name {name!r} is there twice")
        else:
            table[i] = name
    if not table and not wrong:
        wrong.append("names no structure")
    if len(table) > 255:
        wrong.append(f"names {len(table)} structures, more than the 255 that fit into a label file")
    if wrong:
        raise DataError([Finding(file=path, finding=w, remedy="Correct the label table.") for w in wrong])
    return table
