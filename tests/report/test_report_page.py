"""The page: self-contained, its numbers those of the tables, and alive in a browser."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nnunet_spine_ext.cli import app, pages
from nnunet_spine_ext.errors import DataError, SpineExtError
from nnunet_spine_ext.evaluation.sources import sources_path
from nnunet_spine_ext.report.html import write_report
from tests.report.fake import two_models, write_dataset_on_disk, write_table
from tests.report.pages import Tags, in_chromium, section, told_in_chromium, without_date


@pytest.fixture(scope="module")
def page_with_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    tables = write_dataset_on_disk(folder, models={"A": 1, "B": 3})
    return write_report(tables, folder / "report.html", title="Two models")


def test_page_needs_no_other_file_and_no_network(page_with_pictures: Path) -> None:
    page = page_with_pictures.read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", page)
    parsed = Tags(page)
    assert parsed.open == []
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert (attributes.get("href") or "#").startswith(("#", "data:image/png;base64,"))
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for _, a in parsed.tags if (a.get("href") or "").startswith("#")}  # type: ignore[index]
    assert targets <= set(ids)


def test_page_shows_both_models_and_the_worst_case_first(page_with_pictures: Path) -> None:
    page = page_with_pictures.read_text()
    assert "<h1>Two models</h1>" in page
    labels = [a.get("aria-label") for tag, a in Tags(page).tags if tag == "article"]
    assert labels == ["Case c1", "Case c0"]  # the second case is moved by one more voxel
    assert len(re.findall(r'class="picture"', page)) == 4
    assert page.count('class="picture truth"') == 2


def test_every_number_comes_from_the_table(tmp_path: Path) -> None:
    files = two_models(tmp_path)
    page = write_report(files, tmp_path / "r.html")
    # A's cases are 0.8, 0.8 and 0.4; L5 of A 0.9, 0.8 and 0.6; the difference -0.2, +0.1 and 0.
    assert ">0.667 <" in section(page, "summary")
    assert ">0.767 <" in section(page, "structures")
    assert ">−0.033<" in section(page, "pairs")
    assert ">0.400<" in section(page, "cases")
    files[0].write_text(files[0].read_text().replace("c3,L5,dice,0.6", "c3,L5,dice,0.9"))
    page = write_report(files, tmp_path / "r.html")
    # A's third case is now (0.9 + 0.2) / 2, its mean (0.8 + 0.8 + 0.55) / 3, its L5 (0.9 + 0.8 + 0.9) / 3.
    assert ">0.717 <" in section(page, "summary")
    assert ">0.667 <" not in section(page, "summary")
    assert ">0.867 <" in section(page, "structures")
    assert ">0.767 <" not in section(page, "structures")
    assert ">−0.083<" in section(page, "pairs")
    assert ">0.550<" in section(page, "cases")
    assert "A, c3: 0.550" in section(page, "summary")


def test_same_tables_give_the_same_page(tmp_path: Path) -> None:
    tables = write_dataset_on_disk(tmp_path, models={"A": 1})
    first = without_date(write_report(tables, tmp_path / "one.html"))
    assert without_date(write_report(tables, tmp_path / "two.html")) == first


def test_page_without_note_or_images_says_so(tmp_path: Path) -> None:
    files = write_dataset_on_disk(tmp_path, models={"A": 1, "B": 2})
    shutil.rmtree(tmp_path / "Dataset501_Fake" / "imagesTs")
    page = write_report(files, tmp_path / "r.html").read_text()
    assert "Pictures are not available" in page
    assert "c0_0000.nii.gz: no such file" in page
    for file in files:
        sources_path(file).unlink()
    page = write_report(files, tmp_path / "r.html").read_text()
    assert "Pictures are not available" in page
    assert "<article" not in page


def test_number_of_pictures_is_limited(tmp_path: Path) -> None:
    tables = write_dataset_on_disk(tmp_path, models={"A": 1}, cases=3)
    assert write_report(tables, tmp_path / "r.html", overlay_cases=1).read_text().count("<article") == 1
    assert "No pictures were asked for" in write_report(tables, tmp_path / "r.html", overlay_cases=0).read_text()
    with pytest.raises(SpineExtError, match="-1"):
        write_report(tables, tmp_path / "r.html", overlay_cases=-1)


def test_values_left_out_and_single_cases_are_no_error(tmp_path: Path) -> None:
    rows = [("A", "c", "L5", "dice", ""), ("A", "c", "S", "dice", 0.5)]
    page = write_report([write_table(tmp_path / "t.csv", rows)], tmp_path / "r.html").read_text()
    assert "nan" not in re.sub(r'data-value="nan"', "", page.split("<body>")[1].split("<script>")[0])
    assert "1 of 2" in page
    nothing = write_table(tmp_path / "n.csv", [("A", "c", "L5", "dice", "")])
    assert "no value" in write_report([nothing], tmp_path / "r.html").read_text()


def test_names_are_escaped(tmp_path: Path) -> None:
    rows = [("<script>alert(1)</script>", "<b>c", "L5 & S", "dice", 0.5)]
    page = write_report([write_table(tmp_path / "t.csv", rows)], tmp_path / "r.html", title="<i>").read_text()
    assert "<script>alert" not in page
    assert "<b>c" not in page
    assert "L5 &amp; S" in page
    assert "<h1>&lt;i&gt;</h1>" in page


def test_bad_table_leaves_an_old_report_alone(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text("old")
    with pytest.raises(DataError):
        write_report([tmp_path / "absent.csv"], tmp_path / "r.html")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    assert (tmp_path / "r.html").read_text() == "old"


def test_commands_write_table_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset_on_disk(tmp_path, models={"A": 1})
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setattr("nnunet_spine_ext.report.charts.plots.DPI", 30)
    pages.register(app)
    table, page = str(tmp_path / "m.csv"), str(tmp_path / "r.html")
    predictions = str(tmp_path / "A")
    ran = CliRunner().invoke(
        app, ["evaluate", "-d", "501", "-i", predictions, "-o", table, "-np", "1", "--model", "Net"]
    )
    assert ran.exit_code == 0, ran.output
    assert "Net, Dataset501_Fake" in ran.output
    folders = ["--tables", str(tmp_path / "t"), "--figures", str(tmp_path / "f"), "--baseline", "Net"]
    ran = CliRunner().invoke(app, ["report", table, "-o", page, "--title", "Mine", "--cases", "1", *folders])
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "t" / "summary.csv").read_text().startswith("model,dice_mean,dice_sd")
    assert (tmp_path / "f" / "cases.pdf").is_file()
    assert "<title>Mine</title>" in (tmp_path / "r.html").read_text()
    assert CliRunner().invoke(app, ["report", "-o", page]).exit_code == 2


# --- in a browser ----------------------------------------------------------------------------------------------------

PROBE = """
  const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const modes = () => [...document.querySelectorAll(".case")].map((c) => c.dataset.mode).join(" ");
  const visible = (selector) => getComputedStyle(document.querySelector(".case " + selector)).display !== "none";
  const kinds = [".fill-prediction", ".line-reference", ".fill-reference", ".line-prediction"];
  const layers = () => kinds.map(visible).map(Number).join("");
  tell("start " + modes() + " " + layers());
  for (const key of ["r", "p", "o", "b"]) { press(key); tell(key + " " + modes() + " " + layers()); }
  press("ArrowRight"); tell("right " + document.activeElement.getAttribute("aria-label"));
  press("ArrowRight"); tell("right " + document.activeElement.getAttribute("aria-label"));
  press("r"); tell("r " + modes());
  press("ArrowLeft"); tell("left " + document.activeElement.getAttribute("aria-label"));
  press("Escape"); press("o"); tell("all " + modes());
  document.querySelector(".picture").dispatchEvent(new MouseEvent("click", {bubbles: true})); tell("click " + modes());
  document.querySelector("button[data-mode=both]").click(); tell("button " + modes());
  press("n"); tell("names " + visible(".names"));
  const table = document.querySelector("#cases table"), button = table.querySelectorAll("th button")[1];
  const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent).join(" ");
  button.click(); tell("up " + column() + " " + button.parentElement.getAttribute("aria-sort"));
  button.click(); tell("down " + column() + " " + button.parentElement.getAttribute("aria-sort"));
"""


def test_keys_clicks_and_sorting_work_in_a_browser(page_with_pictures: Path, tmp_path: Path) -> None:
    told = told_in_chromium(page_with_pictures, tmp_path, PROBE)
    # In each mode: filled prediction, reference's line, filled reference, prediction's line.
    cases = section(page_with_pictures, "cases")
    scores = re.findall(r'<td class="number" data-value="[\d.]+">([\d.]+)</td><td', cases)
    worst, best = sorted(scores)
    assert told == [
        "start both both 1100",
        "r reference reference 0110",
        "p prediction prediction 1001",
        "o off off 0000",
        "b both both 1100",
        "right Case c1",
        "right Case c0",
        "r both reference",
        "left Case c1",
        "all off off",
        "click both off",
        "button both both",
        "names false",
        f"up {worst} {best} ascending",
        f"down {best} {worst} descending",
        "folded 0",
        "sideways 0",
    ]


def test_page_renders_without_a_complaint(page_with_pictures: Path, tmp_path: Path) -> None:
    picture = tmp_path / "shot.png"
    in_chromium(page_with_pictures, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1300,2000")
    assert picture.is_file()
