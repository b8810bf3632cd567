"""Label tables for other programs: written as these programs write them, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine_ext.data.colours import CYCLE, shaded_colour
from nnunet_spine_ext.data.label_files import (
    itksnap_text,
    read_label_table,
    slicer_text,
    write_label_files,
)
from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.errors import DataError

SMALL = {"background": 0, "L5": 1, "vertebral body": 2}
CHALLENGE = {"background": 0, **{name: i for i, name in enumerate(MRSPINESEG_STRUCTURES, start=1)}}


def test_itksnap_lines_have_its_eight_fields() -> None:
    lines = [
        line for line in itksnap_text({"background": 0, "L5": 1, "vertebral body": 2}).splitlines() if line[0] != "#"
    ]
    assert [line.split(None, 7) for line in lines] == [
        ["0", "0", "0", "0", "0", "0", "0", '"Clear Label"'],
        ["1", "230", "159", "0", "1", "1", "1", '"L5"'],
        ["2", "86", "180", "233", "1", "1", "1", '"vertebral body"'],
    ]


def test_slicer_lines_have_its_six_fields_and_no_spaces_in_names() -> None:
    lines = [
        line for line in slicer_text({"background": 0, "L5": 1, "vertebral body": 2}).splitlines() if line[0] != "#"
    ]
    assert lines == ["0 background 0 0 0 0", "1 L5 230 159 0 255", "2 vertebral_body 86 180 233 255"]


def test_both_files_give_the_table_back(tmp_path: Path) -> None:
    write_label_files(CHALLENGE, tmp_path)
    expected = {i: name for name, i in CHALLENGE.items() if i}
    assert read_label_table(tmp_path / "labels.label") == expected
    assert read_label_table(tmp_path / "labels.ctbl") == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.ctbl", "labels.label"]


names = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(1, 255), names, min_size=1, max_size=20))
def test_any_table_survives_both_formats(tmp_path_factory: pytest.TempPathFactory, table: dict[int, str]) -> None:
    table = {i: f"{name} {i}" for i, name in table.items()}  # every name once
    folder = tmp_path_factory.mktemp("labels")
    write_label_files({"background": 0, **{name: i for i, name in table.items()}}, folder)
    assert read_label_table(folder / "labels.label") == table
    assert read_label_table(folder / "labels.ctbl") == table


def test_colours_are_distinct_for_as_many_structures_as_any_dataset_has() -> None:
    colours = [shaded_colour(i) for i in range(4 * len(CYCLE))]
    assert len(set(colours)) == len(colours)
    assert colours[: len(CYCLE)] == list(CYCLE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps({"background": 0, "L5": 4, "L4": 7})),
        ("b.json", json.dumps({"0": "background", "4": "L5", "7": "L4"})),
        ("c.json", json.dumps({"labels": {"background": 0, "L5": 4, "L4": 7}, "numTraining": 3})),
        ("d.json", json.dumps([{"id": 4, "name": "L5"}, {"id": 7, "name": "L4"}])),
        ("e.csv", "id,name\n4,L5\n7,L4\n"),
        ("f.csv", "4,L5\n7,L4\n"),
        ("g.csv", "name,colour,ID\nL5,red,4\n\nL4,blue,7\n"),
        ("h.csv", "\ufeffid,name\r\n0,background\r\n4, L5\r\n7,L4\r\n"),
        ("i.label", '# comment\n0 0 0 0 0 0 0 "Clear Label"\n 4 255 0 0 1 1 1 "L5"\n7 0 9 0 0.5 1 0 "L4"\n'),
        ("j.ctbl", "# Color table file x\n# 3 values\n0 Background 0 0 0 0\n4 L5 1 2 3 255\n7 L4 1 2 3 255\n"),
    ],
)
def test_tables_as_users_have_them(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_label_table(tmp_path / name) == {4: "L5", 7: "L4"}


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("a.xlsx", "x", "is no label table that can be read"),
        ("a.json", "{", "is no label table"),
        ("a.json", "3", "is no label table"),
        ("a.json", '{"L5": 1.5}', "1.5 .of 'L5'. is no id"),
        ("a.json", '{"L5": true}', "True .of 'L5'. is no id"),
        ("a.json", '{"L5": -1}', "-1 .of 'L5'. is no id"),
        ("a.json", '{"background": 3, "L5": 1}', "the background has the id 3 instead of 0"),
        ("a.json", '[{"id": 4}]', "is no label table"),
        ("a.csv", "4,\n", "the id 4 has no name"),
        ("a.label", "4 L5\n", "line 1 is not understood: '4 L5'"),
        ("a.ctbl", "# x\n4 L5\n", "line 2 is not understood"),
        ("a.csv", "".join(f"{i},s{i}\n" for i in range(1, 300)), "names 299 structures, more than the 255"),
    ],
)
def test_what_is_no_table_is_said(name: str, content: str, finding: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=finding) as caught:
        read_label_table(tmp_path / name)
    assert all(f.file == tmp_path / name for f in caught.value.findings)


def test_all_wrong_lines_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,L5\n1,L4\n1,L3\n2,L4\n")
    with pytest.raises(DataError) as caught:
        read_label_table(tmp_path / "a.csv")
    assert len(caught.value.findings) == 3
