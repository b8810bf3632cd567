"""Tables of metrics read back: folds and seeds, one value per case, tables of an earlier version."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from nnunet_spine_ext.errors import DataError, SpineExtError
from nnunet_spine_ext.evaluation.cases import COLUMNS
from nnunet_spine_ext.evaluation.statistics import PairedScores
from nnunet_spine_ext.evaluation.statistics_tables import folds_of_cases, scores_by_seed
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES
from nnunet_spine_ext.report.results import read_results

NAN = math.nan


def write(path: Path, rows: Iterable[tuple[object, ...]]) -> Path:
    """Write rows of model, fold, seed, case, label, value of Dice."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for *keys, value in rows:
            metric = "challenge_dice" if keys[-1] == ALL_STRUCTURES else "dice"
            writer.writerow(("Dataset501_Fake", *keys, metric, value))
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two seeds of A, one of B; A's seed 1 has no value for S in c2."""
    first = [
        ("A", "0", "0", "c1", "L5", 0.8),
        ("A", "0", "0", "c1", "S", 0.6),
        ("A", "1", "0", "c2", "L5", 0.4),
        ("A", "1", "0", "c2", "S", 0.2),
    ]
    second = [
        ("A", "0", "1", "c1", "L5", 0.6),
        ("A", "0", "1", "c1", "S", 0.2),
        ("A", "1", "1", "c2", "L5", 0.5),
        ("A", "1", "1", "c2", "S", ""),
    ]
    other = [
        ("B", "0", "", "c1", "L5", 0.9),
        ("B", "0", "", "c1", "S", ""),
        ("B", "0", "", "c3", "L5", 0.7),
        ("B", "0", "", "c3", "S", 0.5),
    ]
    return [write(tmp_path / f"{i}.csv", rows) for i, rows in enumerate((first, second, other))]


def test_values_of_a_case_are_means_over_its_seeds(files: list[Path]) -> None:
    results = read_results(files)
    assert results.seeds == ("", "0", "1")
    assert dict(results.values(model="A", label="L5", metric="dice")) == pytest.approx({"c1": 0.7, "c2": 0.45})
    assert dict(results.values(model="A", label="S", metric="dice")) == pytest.approx({"c1": 0.4, "c2": 0.2})
    assert results.values(model="A", label="strange", metric="dice").empty


def test_case_means_are_over_structures_first_then_over_seeds(files: list[Path]) -> None:
    results = read_results(files)
    seeds = scores_by_seed(results.table, metric="dice").xs("A", level="model").unstack("seed")
    assert list(seeds.columns) == ["0", "1"]
    assert seeds.to_numpy().tolist() == [pytest.approx([0.7, 0.4]), pytest.approx([0.3, 0.5])]
    # Not 0.325, the mean over seeds first: there L5 would count more than S.
    assert dict(results.case_means(model="A", metric="dice")) == pytest.approx({"c1": 0.55, "c2": 0.4})
    assert results.case_means(model="A", metric="iou").empty


def test_score_table_has_a_row_per_case_and_a_column_per_model(files: list[Path]) -> None:
    results = read_results(files)
    whole = results.score_table(metric="dice")
    assert (list(whole.index), list(whole.columns)) == (["c1", "c2", "c3"], ["A", "B"])
    assert np.allclose(whole.to_numpy(), [[0.55, 0.9], [0.4, NAN], [NAN, 0.6]], equal_nan=True)
    assert PairedScores.of(whole, resamples=1).cases == ("c1",)
    one = results.score_table(metric="dice", label="L5")
    assert one.loc["c1"].tolist() == pytest.approx([0.7, 0.9])
    nothing = results.score_table(metric="iou")
    assert (list(nothing.columns), len(nothing)) == (["A", "B"], 0)


def test_score_table_of_a_metric_of_whole_cases(tmp_path: Path) -> None:
    rows = [
        ("A", "", "", "c1", "L5", 0.5),
        ("A", "", "", "c1", ALL_STRUCTURES, 0.25),
        ("B", "", "", "c1", "L5", 0.5),
        ("B", "", "", "c1", ALL_STRUCTURES, 0.75),
    ]
    results = read_results([write(tmp_path / "m.csv", rows)])
    table = results.score_table(metric="challenge_dice", label=ALL_STRUCTURES)
    assert table.loc["c1"].tolist() == [0.25, 0.75]


def test_every_case_has_its_fold(files: list[Path]) -> None:
    assert folds_of_cases(read_results(files).table) == {"c1": "0", "c2": "1", "c3": "0"}


def test_values_left_out_are_counted_in_every_seed(files: list[Path]) -> None:
    results = read_results(files)
    assert results.left_out(model="A", metric="dice") == (1, 8)
    assert results.left_out(model="B", metric="dice") == (1, 4)


def test_one_joined_table_gives_the_same_as_its_parts(files: list[Path], tmp_path: Path) -> None:
    joined = tmp_path / "joined.csv"
    head, *_ = files[0].read_text().splitlines()
    joined.write_text("\n".join([head, *(row for f in files for row in f.read_text().splitlines()[1:])]) + "\n")
    one, parts = read_results([joined]), read_results(files)
    assert one.score_table(metric="dice").equals(parts.score_table(metric="dice"))
    assert one.models == parts.models
    assert one.structures == parts.structures


def test_case_may_occur_once_per_seed_only(files: list[Path], tmp_path: Path) -> None:
    again = write(tmp_path / "again.csv", [("A", "3", "1", "c1", "L5", 0.5)])
    with pytest.raises(SpineExtError, match="Case c1 of model A, seed 1,"):
        read_results([*files, again])
    twice = write(tmp_path / "twice.csv", [("C", fold, "1", "c1", "L5", 0.5) for fold in "01"])
    with pytest.raises(DataError, match="same row twice"):
        read_results([twice])


def test_table_of_an_earlier_version_says_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("dataset,model,case,label,metric,value\nD,A,c,L5,dice,0.5\n")
    with pytest.raises(DataError, match=r"no columns `fold` and `seed`.*nnunet_spine evaluate"):
        read_results([old])


def test_surface_dice_at_another_tolerance_is_among_the_metrics(tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    rows = [f"D,A,,,c,L5,{metric},0.5" for metric in ("nsd_voxel_2.5mm", "strange", "dice")]
    table.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    assert [metric.key for metric in read_results([table]).metrics] == ["dice", "nsd_voxel_2.5mm"]
