"""The report of a comparison: every number from its files, a line for every file that is not there."""

from __future__ import annotations

import csv
import json
import re
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev

import pytest
from scipy.stats import wilcoxon

from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.report.comparison import write_comparison_report
from nnunet_spine_ext.report.html import write_report
from tests.report import fake_comparison as fake
from tests.report.fake import write_dataset_on_disk
from tests.report.pages import Tags, section, told_in_chromium, without_date

SECTIONS = (
    "summary", "ranking", "pairs", "folds", "structures", "levels", "costs", "confusion", "robustness", "budget",
    "pictures", "cases", "papers", "jobs",
)  # fmt: skip


def leave_out_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib takes seconds; what it draws is tested in test_figures."""
    monkeypatch.setattr("nnunet_spine_ext.report.charts.plots.write_figures", lambda drawn, folder: [])
    monkeypatch.setattr("nnunet_spine_ext.report.sections.ranking.critical_difference_svg", lambda scores: b"<svg/>")


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_figures(monkeypatch)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison of `folder` with its page and tables, for tests that change nothing in it."""
    folder = fake.write_small_comparison(tmp_path_factory.mktemp("reported") / "comparison")
    with pytest.MonkeyPatch.context() as patched:
        leave_out_figures(patched)
        write_comparison_report(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, without_figures: None) -> Path:
    return fake.write_small_comparison(tmp_path / "comparison")


def sections_of(page: Path) -> dict[str, str]:
    keys = re.findall(r'<section id="(\w+)">', page.read_text())
    return {key: section(page, key) for key in keys}


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def case_scores(model: int, cases: int = 10) -> list[float]:
    return [mean(fake.score(model, i, s) for s in range(len(fake.SMALL_STRUCTURES))) for i in range(cases)]


def test_comparison_gets_page_tables_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_spine_ext.report.charts.plots.DPI", 30)
    folder = fake.write_small_comparison(tmp_path)
    page = write_comparison_report(folder)
    assert page == folder / "report.html"
    assert [key for key in sections_of(page) if key != "missing"] == [*SECTIONS, "sources"]
    assert ("missing" in sections_of(page)) == bool(NOT_INSTALLED)
    parsed = Tags(page.read_text())
    assert parsed.open == []
    tables = {file.name for file in (folder / "tables").iterdir()}
    for key in (
        "summary",
        "structures_dice",
        "statistics",
        "costs",
        "ranking",
        "folds",
        "confusions",
        "paper003_table1",
    ):
        assert {f"{key}.csv", f"{key}.md", f"{key}.tex"} <= tables
    figures = {file.name for file in (folder / "figures").iterdir()}
    for key in (
        "cases",
        "differences",
        "ranks",
        "significance",
        "structures",
        "costs",
        "confusion_1",
        "robustness",
        "budget",
    ):
        assert {f"{key}.png", f"{key}.pdf"} <= figures
    if find_spec("autorank"):
        assert b"<svg" in (folder / "figures" / "critical_difference.svg").read_bytes()
    assert ("critical_difference.svg" in figures) == (find_spec("autorank") is not None)


def test_summary_is_what_the_rows_say(reported: Path) -> None:
    rows = {row["model"]: row for row in read(reported / "tables" / "summary.csv")}
    for m, model in enumerate(fake.SMALL_MODELS):
        scores = case_scores(m)
        row = rows[model]
        assert float(row["dice_mean"]) == pytest.approx(mean(scores))
        assert float(row["dice_sd"]) == pytest.approx(stdev(scores))
        assert float(row["dice_ci_low"]) < mean(scores) < float(row["dice_ci_high"])
        assert (row["rank"], row["cases"]) == (str(3 - m), "10")
        assert float(row["parameters"]) == pytest.approx(17 * (m + 1))
    costs = section(reported / "report.html", "summary")
    assert ">17.0<" in costs  # millions of parameters
    assert "counted" in costs  # stands in for the memory that was not measured
    assert "GPU only" in costs


def test_statistics_are_scipys(folder: Path) -> None:
    table = folder / "metrics.csv"
    fake.change(table, "SpineHybrid,3,0,c08,S,dice,0.5703125", "SpineHybrid,3,0,c08,S,dice,0.25")
    write_comparison_report(folder)
    scores = {model: case_scores(m) for m, model in enumerate(fake.SMALL_MODELS)}
    scores["SpineHybrid"][8] += (0.25 - 0.5703125) / 3
    rows = {row["model"]: row for row in read(folder / "tables" / "statistics.csv")}
    assert set(rows) == {"SpineHybrid", "SpineDeepLabV3Plus"}
    for model, row in rows.items():
        difference = [round(a - b, 12) for a, b in zip(scores[model], scores["stock"], strict=True)]
        assert float(row["difference_from_baseline_mean"]) == pytest.approx(mean(difference))
        assert float(row["p"]) == pytest.approx(wilcoxon(difference).pvalue)
        assert row["better"] == str(sum(d > 0 for d in difference))
    low, high = sorted(float(row["p"]) for row in rows.values())
    adjusted = sorted(float(row["p_holm"]) for row in rows.values())
    assert adjusted == pytest.approx([2 * low, max(2 * low, high)])


def test_folds_are_as_papers_print_them(reported: Path) -> None:
    (row, *_) = read(reported / "tables" / "folds.csv")
    scores = case_scores(0)
    folds = [mean(scores[f::5]) for f in range(5)]
    assert [float(row[f"fold_{f}"]) for f in range(5)] == pytest.approx(folds)
    assert (float(row["folds_mean"]), float(row["folds_sd"])) == pytest.approx((mean(folds), stdev(folds)))


CHANGES: dict[str, tuple[str, str, str, set[str]]] = {
    "metrics": (
        "metrics.csv",
        "SpineDeepLabV3Plus,0,0,c00,L5,dice,0.640625",
        "SpineDeepLabV3Plus,0,0,c00,L5,dice,0.0",
        {"summary", "ranking", "pairs", "folds", "structures", "costs", "cases", "papers"},
    ),
    "level": (
        "metrics.csv",
        "stock,1,0,c01,all structures,shifted_structures,0.0",
        "stock,1,0,c01,all structures,shifted_structures,2.0",
        {"levels"},
    ),
    "costs": (
        "costs.csv",
        "SpineDeepLabV3Plus,gmac,1231.5",
        "SpineDeepLabV3Plus,gmac,987.6",
        {"summary", "costs", "papers"},
    ),
    "note": (
        "costs.csv",
        "SpineHybrid,training_hours,19.0,h,from the logs",
        "SpineHybrid,training_hours,19.0,h,by hand",
        {"costs"},
    ),
    "confusion": ("confusion.csv", "stock,0,0,c00,S,L5,1000", "stock,0,0,c00,S,L5,9000", {"confusion"}),
    "robustness": (
        "robustness.csv",
        "stock,noise,50,c00,S,dice,0.812",
        "stock,noise,50,c00,S,dice,0.112",
        {"robustness"},
    ),
    "budget": ("budget.csv", "stock,0,0,50,c00,S,dice,0.85", "stock,0,0,50,c00,S,dice,0.15", {"budget"}),
    "jobs": (
        "jobs.csv",
        "AlwaysCrashes,nnUNetPlans,3d_fullres,3,0,failed",
        "AlwaysCrashes,nnUNetPlans,3d_fullres,3,0,begun",
        {"jobs"},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changing_one_row_changes_the_page_where_it_is_shown(reported: Path, folder: Path, what: str) -> None:
    name, old, new, expected = CHANGES[what]
    before = sections_of(reported / "report.html")
    fake.change(folder / name, old, new)
    after = sections_of(write_comparison_report(folder))
    assert set(before) == set(after)
    changed = {key for key in before if before[key] != after[key]}
    assert changed - {"sources"} == expected  # the checksum of the metrics is told among the sources


def test_changed_numbers_are_the_right_ones(folder: Path) -> None:
    fake.change(folder / "costs.csv", "stock,gmac,410.5", "stock,gmac,987.6")
    fake.change(folder / "confusion.csv", "stock,0,0,c00,S,L5,1000", "stock,0,0,c00,S,L5,19000")
    fake.change(folder / "robustness.csv", "stock,noise,50,c00,S,dice,0.812", "stock,noise,50,c00,S,dice,0.112")
    page = write_comparison_report(folder)
    assert ">988<" in section(page, "costs")
    # Of the stock's S, 10 cases of 9000 voxels are right, 9 of 1000 and one of 19000 are called L5.
    wrong, right = 9 * 1000 + 19000, 10 * 9000
    assert f"S called L5: {wrong:,} voxels, {wrong / (wrong + right):.2%}" in section(page, "confusion")
    before = 0.812
    cases, structures = 4, 3
    (row,) = [
        r for r in read(folder / "tables" / "robustness.csv") if (r["perturbation"], r["strength"]) == ("noise", "50.0")
    ]
    assert float(row["stock_mean"]) == pytest.approx(before - 0.7 / (cases * structures))


NOT_INSTALLED = int(find_spec("autorank") is None)
"""Lines about figures for which an extra is missing: the critical-difference diagram."""

REMOVALS: dict[str, tuple[str, str]] = {
    "costs.csv": ("costs", "nnunet_spine benchmark run"),
    "confusion.csv": ("confusion", "nnunet_spine evaluate"),
    "robustness.csv": ("robustness", "nnunet_spine benchmark robustness"),
    "budget.csv": ("budget", "keep_epochs"),
    "jobs.csv": ("jobs", "nnunet_spine benchmark run"),
}


@pytest.mark.parametrize("name", REMOVALS)
def test_part_that_is_not_there_is_a_line_that_says_what_brings_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    key, how = REMOVALS[name]
    found = sections_of(write_comparison_report(folder))
    assert [k for k in SECTIONS if k not in found] == [key]
    assert how in found["missing"]
    assert found["missing"].count("<li>") == 1 + NOT_INSTALLED


def test_metrics_alone_are_enough(folder: Path) -> None:
    for name in (*REMOVALS, "comparison.json", "environment.json"):
        (folder / name).unlink()
    page = write_comparison_report(folder)
    found = sections_of(page)
    assert found["missing"].count("<li>") == len(REMOVALS) + NOT_INSTALLED
    assert "No baseline is named" in found["pairs"]
    assert "Measured on" not in page.read_text()


def test_table_without_rows_is_as_good_as_none(folder: Path) -> None:
    header = (folder / "robustness.csv").read_text().splitlines()[0]
    (folder / "robustness.csv").write_text(header + "\n")
    assert "robustness" not in sections_of(write_comparison_report(folder))


def test_notes_failures_and_hardware_are_told(reported: Path) -> None:
    page = (reported / "report.html").read_text()
    head, tail = page.split("</header>")[0], page.split("</main>")[1]
    assert "A note of the benchmark." in head
    assert "AlwaysCrashes: 0 of 5 jobs are done (5 failed). It is in no table of results." in head
    assert "Baseline: stock." in head
    assert "An accelerator" in tail
    assert "torch 2.15.0" in tail


def test_words_from_files_are_escaped(folder: Path) -> None:
    bad = "<script>alert(1)</script>"
    (folder / "comparison.json").write_text(json.dumps({"notes": [bad], "baseline": "stock"}))
    (folder / "environment.json").write_text(json.dumps({"gpu": {bad: bad}}))
    for name in ("jobs.csv", "costs.csv", "robustness.csv", "budget.csv", "confusion.csv", "metrics.csv"):
        (folder / name).write_text(
            (folder / name).read_text().replace("SpineHybrid", bad).replace("from the logs", bad)
        )
    page = write_comparison_report(folder)
    assert "<script>alert" not in page.read_text()
    assert "Traceback (most recent call last):\nRuntimeError: &lt;no&gt; &amp; never" in section(page, "jobs")


def test_everything_wrong_is_told_at_once_and_an_old_page_stays(folder: Path) -> None:
    (folder / "report.html").write_text("old")
    (folder / "costs.csv").write_text("model,value\nA,1\n")
    fake.change(folder / "robustness.csv", "stock,noise,50,c00,S,dice,0.812", "stock,noise,50,c00,S,dice,good")
    (folder / "comparison.json").write_text("[")
    with pytest.raises(DataError) as caught:
        write_comparison_report(folder)
    told = {f.file.name: f.finding for f in caught.value.findings}
    assert set(told) == {"costs.csv", "robustness.csv", "comparison.json"}
    assert "expected model, quantity, value, unit, note" in told["costs.csv"]
    assert "'good' as a number (value)" in told["robustness.csv"]
    assert (folder / "report.html").read_text() == "old"
    assert not (folder / "tables").exists()


def test_baseline_without_results_is_told_and_the_others_are_shown(folder: Path) -> None:
    (folder / "comparison.json").write_text(json.dumps({"baseline": "AlwaysCrashes"}))
    page = write_comparison_report(folder)
    assert "The baseline, AlwaysCrashes, has no results" in page.read_text().split("</header>")[0]
    assert "No baseline is named" in section(page, "pairs")


def test_trainers_of_the_jobs_find_the_papers_rows(folder: Path) -> None:
    jobs = folder / "jobs.csv"
    lines = [line.split(",", 1) for line in jobs.read_text().splitlines() if "," in line]
    kept = [lines[0], *(line for line in lines if line[0] in fake.SMALL_MODELS)]
    trainers = {"model": "trainer", "stock": "SpineSegNetTrainer_5epochs"}
    jobs.write_text("".join(f"{m},{trainers.get(m, 'nnUNetTrainer')},{rest}\n" for m, rest in kept))
    papers = section(write_comparison_report(folder), "papers")
    assert "ASPP and U-Net" in papers  # SegNet's paper
    assert "ICMR 2022" not in papers


def test_same_files_give_the_same_page_and_tables(reported: Path, folder: Path) -> None:
    def written(folder: Path) -> dict[str, str]:
        tables = {f.name: f.read_text() for f in (folder / "tables").iterdir()}
        return tables | {"page": without_date(folder / "report.html")}

    write_comparison_report(folder)
    assert len(written(folder)) > 20
    assert written(folder) == written(reported)


def test_models_on_different_splits_get_no_means_of_folds(folder: Path) -> None:
    table = folder / "metrics.csv"
    table.write_text(re.sub(r"(SpineHybrid),\d,", r"\1,4,", table.read_text()))
    found = sections_of(write_comparison_report(folder))
    assert "folds" not in found
    assert "splits_final.json" in found["missing"]


def test_pictures_are_found_by_model_and_fold(tmp_path: Path, without_figures: None) -> None:
    tables = write_dataset_on_disk(tmp_path / "data", models={"A": 1, "B": 3})
    folder = tmp_path / "comparison"
    lines = [table.read_text().splitlines(keepends=True) for table in tables]
    folder.mkdir()
    (folder / "metrics.csv").write_text("".join([*lines[0], *lines[1][1:]]))
    assert "Pictures are not available" in write_comparison_report(folder).read_text()
    (folder / "metrics").symlink_to(tmp_path / "data")
    page = write_comparison_report(folder).read_text()
    assert page.count("<article") == 2
    assert page.count('class="picture"') == 4
    assert "2 folders" in section(folder / "report.html", "sources")


def test_confusion_beside_a_table_is_on_the_page_of_report(tmp_path: Path) -> None:
    tables = write_dataset_on_disk(tmp_path, models={"A": 1, "B": 3})
    page = write_report(tables, tmp_path / "r.html", overlay_cases=0)
    # A lies 1 voxel too high in case c0, 2 in c1: of the disc's 3 + 3 rows the lowest 1 + 2 are called S, in 3 slices
    # of 10 columns. B lies 3 and 4 voxels too high, where nothing of the disc is right.
    told = section(page, "confusion")
    assert told.count("<svg class='plot matrix") == 2
    assert re.findall(r"L5/S called S: (\d+) voxels, ([\d.]+)%", told) == [("90", "50.00"), ("180", "100.00")]


def test_comparison_lives_in_a_browser(reported: Path, tmp_path: Path) -> None:
    told = told_in_chromium(
        reported / "report.html",
        tmp_path,
        """
        const tables = [...document.querySelectorAll("table.sortable")];
        tables.forEach((t) => t.querySelectorAll("th button").forEach((b) => b.click()));
        tell("sorted " + tables.every((t) => t.querySelector("th[aria-sort]") !== null));
        const marks = (id) => document.querySelectorAll("#" + id + " svg.plot path").length;
        tell("marks " + ["summary", "costs", "robustness", "budget"].map(marks).join(" "));
        tell("cells " + document.querySelectorAll("#confusion .cell").length);
        """,
    )
    # 3 models on 10 cases; 4 known costs; 6 + 5 + 5 strengths; 2 metrics at 4 epochs; 3 names with the background.
    assert told == [
        "sorted true",
        f"marks {3 * 10} {3 * 4} {3 * 16} {3 * (2 * 4 + 25)}",
        f"cells {3 * 9}",
        "folded 0",
        "sideways 0",
    ]
