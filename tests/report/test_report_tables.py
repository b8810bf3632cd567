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
from nnunet_spine_ext.report.analysis import Analysis, analyse
from nnunet_spine_ext.report.cautions import cautions
from nnunet_spine_ext.report.comparison_files import Comparison
from nnunet_spine_ext.report.numbers import p_value, shown, significant
from nnunet_spine_ext.report.results import Spread, read_results
from nnunet_spine_ext.report.sections.cases import worst_first
from nnunet_spine_ext.report.sections.pairs import pairs_section
from nnunet_spine_ext.report.sections.structures import structure_sheet
from nnunet_spine_ext.report.sections.summary import summary_section
from nnunet_spine_ext.report.sheets import Cell, Sheet
from nnunet_spine_ext.report.tables import as_text
from tests.report.fake import two_models, write_table

NAN = math.nan
DICE = METRICS["dice"]


def analysis_of(*files: Path, baseline: str | None = None) -> Analysis:
    return analyse(read_results(files), Comparison(baseline=baseline))


def column(sheet: Sheet, key: str) -> list[Cell]:
    (at,) = [i for i, column in enumerate(sheet.columns) if column.key == key]
    return [row[at] for row in sheet.rows]


def summary(analysis: Analysis) -> Sheet:
    return summary_section(analysis).sheets[0]


def test_spread_is_mean_and_sample_deviation_of_the_values_that_are_there() -> None:
    assert Spread.of([0.2, NAN, 0.6]) == Spread(mean=0.4, sd=pytest.approx(statistics.stdev([0.2, 0.6])), n=2)  # type: ignore[arg-type]
    one, none = Spread.of([0.5]), Spread.of([NAN])
    assert (one.mean, one.n, math.isnan(one.sd)) == (0.5, 1, True)
    assert (math.isnan(none.mean), none.n) == (True, 0)


def test_summary_is_over_cases_of_the_mean_over_structures(tmp_path: Path) -> None:
    analysis = analysis_of(*two_models(tmp_path))
    a, b = column(summary(analysis), "dice")
    # A: cases 0.8, 0.8 (S left out), 0.4. B: 0.6, 0.9, 0.4.
    mean, sd, low, high, n = a.values
    assert (mean, sd, n) == (pytest.approx(2 / 3), pytest.approx(statistics.stdev([0.8, 0.8, 0.4])), 3)
    assert 0.4 <= float(low) <= float(mean) <= float(high) <= 0.8 + 1e-9
    assert b.values[0] == pytest.approx(1.9 / 3)
    assert (a.best, b.best) == (True, False)
    assert [cell.values[0] for cell in column(summary(analysis), "rank")] == [1, 2]
    assert [cell.values for cell in column(summary(analysis), "cases")] == [(3,), (3,)]


def test_case_counts_with_its_mean_not_its_median(tmp_path: Path) -> None:
    rows = [("A", "c", label, "dice", value) for label, value in (("L5", 0.9), ("L4", 0.8), ("S", 0.1))]
    (cell,) = column(summary(analysis_of(write_table(tmp_path / "t.csv", rows))), "dice")
    assert cell.values[0] == pytest.approx(0.6)


def test_further_metrics_count_what_is_left_out(tmp_path: Path) -> None:
    rows = [("A", "c", "L5", "dice", 0.5), ("A", "c", "S", "dice", ""), ("A", "c", "L5", "iou", 0.25)]
    further = summary_section(analysis_of(write_table(tmp_path / "t.csv", rows))).sheets[1]
    assert column(further, "iou")[0].values[0] == 0.25
    assert column(further, "left_out")[0].values == (1, 2)
    assert [c.key for c in further.columns] == ["model", "iou", "left_out"]  # no challenge score in this table


def test_structure_table_counts_the_values_of_each_structure(tmp_path: Path) -> None:
    files = two_models(tmp_path)
    write_table(tmp_path / "u.csv", [("A", "c1", UNION, "dice", 0.25)])
    table = structure_sheet(read_results([*files, tmp_path / "u.csv"]), DICE)
    rows = {str(row[0].values[0]): row[1:] for row in table.rows}
    assert list(rows) == ["L5", "S", UNION]
    assert [cell.values[0] for cell in rows["L5"]] == pytest.approx([2.3 / 3, 2.0 / 3])
    assert [cell.values[2] for cell in rows["S"]] == [2, 2]
    assert [cell.below for cell in rows["S"]] == ["n = 2", "n = 2"]
    assert [cell.best for cell in rows["S"]] == [False, False]  # a tie has no best
    assert [cell.text for cell in rows[UNION]] == ["0.250", "–"]


def test_smaller_distance_from_zero_is_better_where_zero_is_good(tmp_path: Path) -> None:
    rows = [("A", "c", "L5", "volume_difference_ml", 3.0), ("B", "c", "L5", "volume_difference_ml", -2.0)]
    table = structure_sheet(read_results([write_table(tmp_path / "t.csv", rows)]), METRICS["volume_difference_ml"])
    assert [cell.best for cell in table.rows[0][1:]] == [False, True]


def test_pairs_compare_case_by_case(tmp_path: Path) -> None:
    section = pairs_section(analysis_of(*two_models(tmp_path)))
    assert section is not None
    (sheet,) = section.sheets
    # B - A: -0.2, +0.1, 0.
    (difference,) = column(sheet, "difference")
    assert difference.values[0] == pytest.approx(-0.1 / 3)
    counts = [column(sheet, key)[0].values for key in ("second_better", "equal", "first_better")]
    assert counts == [(1,), (1,), (1,)]
    assert [cell.text for cell in column(sheet, "verdict")] == ["no difference shown"]


def test_baseline_is_what_the_others_are_compared_with(tmp_path: Path) -> None:
    section = pairs_section(analysis_of(*two_models(tmp_path), baseline="B"))
    assert section is not None
    against, every = section.sheets
    (difference,) = column(against, "difference_from_baseline")
    assert difference.values[0] == pytest.approx(0.1 / 3)  # A - B
    assert [cell.text for cell in column(against, "model")] == ["A"]
    assert len(every.rows) == 1
    with pytest.raises(SpineExtError, match="'C' is none of the models"):
        analysis_of(*two_models(tmp_path), baseline="C")


def test_pairs_use_only_common_cases(tmp_path: Path) -> None:
    rows = [("A", "c1", "L5", "dice", 0.5), ("A", "c2", "L5", "dice", 0.1), ("B", "c1", "L5", "dice", 0.7)]
    analysis = analysis_of(write_table(tmp_path / "t.csv", rows))
    section = pairs_section(analysis)
    assert section is not None
    assert column(section.sheets[0], "difference")[0].values[0] == pytest.approx(0.2)
    assert any("same cases (A 2, B 1; 1 in common)" in caution for caution in cautions(analysis, [], title=""))


def test_worst_case_comes_first_and_a_case_without_value_last(tmp_path: Path) -> None:
    rows = [("A", "good", "L5", "dice", 0.9), ("A", "bad", "L5", "dice", 0.1), ("A", "none", "L5", "dice", "")]
    cases = worst_first(read_results([write_table(tmp_path / "t.csv", rows)]))
    assert [case for case, _ in cases] == ["bad", "good", "none"]


def test_folds_of_a_model_are_joined(tmp_path: Path) -> None:
    files = [write_table(tmp_path / f"{i}.csv", [("A", f"c{i}", "L5", "dice", 0.2 * i)]) for i in range(3)]
    (cell,) = column(summary(analysis_of(*files)), "dice")
    assert (cell.values[4], cell.values[0]) == (3, pytest.approx(0.2))


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


def test_numbers_of_any_size_have_three_digits_and_p_is_never_zero() -> None:
    assert [significant(v) for v in (0.012345, 1.2345, 123.45, 12345.0, 0.0, NAN)] == [
        "0.0123",
        "1.23",
        "123",
        "12\N{THIN SPACE}345",
        "0",
        "–",
    ]
    assert [p_value(p) for p in (0.0, 0.0004, 0.05, 1.0, NAN)] == ["< 0.001", "< 0.001", "0.050", "1.000", "–"]


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
    analysis = analysis_of(*two_models(tmp_path))
    for notes, title in (({"description": "A Phantom"}, ""), ({"synthetic": "True"}, ""), ({}, "Demo on a phantom")):
        assert "no claim about accuracy" in cautions(analysis, [sources(**notes)], title=title)[0]
    told = cautions(analysis, [sources(source="chu")], title="Comparison")
    assert not any("accuracy" in caution for caution in told)


def test_few_cases_and_left_out_values_are_said(tmp_path: Path) -> None:
    told = " ".join(cautions(analysis_of(*two_models(tmp_path)), [], title=""))
    assert "Only 3 cases" in told
    assert "2 of 12 Dice values" in told
    many = [("A", f"c{i}", "L5", "dice", 0.5) for i in range(50)]
    assert cautions(analysis_of(write_table(tmp_path / "m.csv", many)), [], title="") == [
        "Only one model: nothing to compare it with."
    ]
