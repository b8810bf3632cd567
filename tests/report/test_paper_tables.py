"""The papers' figures are those of the transcribed tables, and stand beside the right network."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from nnunet_spine_ext.evaluation.metrics import METRICS
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.report.analysis import analyse
from nnunet_spine_ext.report.comparison_files import read_comparison
from nnunet_spine_ext.report.costs import QUANTITIES
from nnunet_spine_ext.report.paper_tables import NAMES_003, NAMES_004, PAPER_TABLES, PaperTable
from nnunet_spine_ext.report.results import read_results
from nnunet_spine_ext.report.sections.papers import network_of, papers_section
from tests.report import fake_comparison as fake

TRANSCRIBED = Path(os.environ.get("NNUNET_SPINE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")).parent
TRANSCRIBED = TRANSCRIBED / "papers" / "tables"
BY_KEY = {table.key: table for table in PAPER_TABLES}


def transcribed(name: str) -> list[dict[str, str]]:
    if not (TRANSCRIBED / name).is_file():
        pytest.skip(f"the transcribed tables are not here ({name})")
    with (TRANSCRIBED / name).open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows: list[dict[str, str]], columns: list[str]) -> list[tuple[float, ...]]:
    return [tuple(float(row[column]) for column in columns) for row in rows]


def values(table: PaperTable) -> list[tuple[float, ...]]:
    return [row.values for row in table.rows]


@pytest.mark.parametrize(
    ("key", "file", "columns"),
    [
        ("paper002_table1", "paper002_table1.csv", ["final_accuracy_pct", "dice", "avg_inference_s_per_image"]),
        (
            "paper003_table1",
            "paper003_table1.csv",
            ["dice_pct", "miou_pct", "fn_rate_pct", "fp_rate_pct", "recall_pct"],
        ),
        ("paper003_table2", "paper003_table2.csv", [*NAMES_003, "mDice"]),
        ("paper004_table4", "paper004_table4.csv", ["params_M", "inference_s_per_image"]),
    ],
)
def test_figures_are_the_papers(key: str, file: str, columns: list[str]) -> None:
    rows = transcribed(file)
    assert values(BY_KEY[key]) == numbers(rows, columns)
    names = [row.get("method") or row["model"] for row in rows]
    assert [row.name for row in BY_KEY[key].rows] == names


def test_costs_of_paper_003_are_its_own_in_millions() -> None:
    found = [(p * 1e6, f, m) for p, f, m in values(BY_KEY["paper003_table3"])]
    for line, row in zip(found, transcribed("paper003_table3.csv"), strict=True):
        assert line == pytest.approx((float(row["params"]), float(row["flops_G"]), float(row["memory_GB"])))


def test_ablation_of_paper_000_is_its_own() -> None:
    rows = {row.pop("metric"): list(row.values()) for row in transcribed("paper000_table1.csv")}
    columns = [tuple(map(float, line)) for line in zip(rows["DSC"], rows["PPV"], rows["Sensitivity"], strict=True)]
    assert values(BY_KEY["paper000_table1"]) == columns


@pytest.mark.parametrize(("key", "metric"), [("dsc", "DSC_pct"), ("miou", "MIoU_pct")])
def test_means_and_deviations_of_paper_004_are_its_own(key: str, metric: str) -> None:
    expected: dict[str, list[str]] = {}
    for row in transcribed("paper004_table3.csv"):
        if row["metric"] == metric:
            expected.setdefault(row["model"], []).append(f"{float(row['mean'])} {float(row['sd'])}")
    found = {
        row.name: [" ".join(str(float(part)) for part in text.split("±")) for text in row.printed]
        for row in BY_KEY[f"paper004_table3_{key}"].rows
    }
    assert found == expected
    assert all(len(line) == len(NAMES_004) + 1 for line in found.values())


def test_every_row_fits_its_columns_and_every_column_something_measured() -> None:
    quantities = {quantity.key for quantity in QUANTITIES}
    for table in PAPER_TABLES:
        assert {len(row.printed) for row in table.rows} == {len(table.columns)}
        assert table.differs
        for column in table.columns:
            assert column.kind == "none" or column.what in (quantities if column.kind == "cost" else METRICS)


def test_every_network_named_has_a_trainer() -> None:
    trained = {name for row in NETWORKS.values() for trainer in row.trainers for name in network_of(trainer)}
    named = {row.network for table in PAPER_TABLES for row in table.rows if row.network}
    assert named <= trained


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("SpineHybridTrainer", "hybrid"),
        ("SpineHybridPaperTrainer_100epochs", "hybrid"),
        ("SpineDeepLabV3Plus 3d_fullres", "deeplabv3plus"),
        ("ASPP-UNet", "asppunet"),
        ("stock nnU-Net", "stock"),
    ],
)
def test_trainers_and_titles_name_networks(name: str, network: str) -> None:
    assert network in network_of(name)


def test_general_network_is_not_taken_for_the_papers_own() -> None:
    assert "unetpppaper" not in network_of("SpineUNetPPTrainer")
    assert "hybrid" not in network_of("SpineHybridResTrainer")
    assert "deeplabv3" not in network_of("SpineDeepLabV3PlusTrainer")


def test_measured_figures_stand_below_the_papers_in_its_unit(tmp_path: Path) -> None:
    folder = fake.write_small_comparison(tmp_path)
    analysis = analyse(read_results([folder / "metrics.csv"]), read_comparison(folder))
    section = papers_section(analysis, {"stock": "SpineHybridTrainer"})
    assert section is not None
    sheets = {sheet.key: sheet for sheet in section.sheets}
    assert set(sheets) == {"paper000_table1", "paper003_table1", "paper003_table2", "paper003_table3"}
    rows = [[str(cell.values[0]) for cell in row[:2]] for row in sheets["paper000_table1"].rows]
    # Both models are the hybrid, one by its trainer, one by its title; the paper's own row comes first.
    assert rows[-3:] == [["its hybrid", "paper"], ["stock", "here"], ["SpineHybrid", "here"]]
    scores = [sum(fake.score(2, i, s) for s in range(3)) / 3 for i in range(10)]
    (measured,) = [row for row in sheets["paper003_table1"].rows if row[1].text == "here"]
    assert measured[2].values[0] == pytest.approx(100 * sum(scores) / 10)
    assert measured[3].text == "–"  # no IoU in these metrics
    (costs,) = [row for row in sheets["paper003_table3"].rows if row[1].text == "here"]
    assert costs[2].values[0] == pytest.approx(3 * 17)


def test_without_a_network_of_the_papers_there_is_no_section(tmp_path: Path) -> None:
    folder = fake.write_small_comparison(tmp_path)
    analysis = analyse(read_results([folder / "metrics.csv"]), read_comparison(folder))
    trainers = dict.fromkeys(fake.SMALL_MODELS, "nnUNetTrainer")
    assert papers_section(analysis, trainers) is None
