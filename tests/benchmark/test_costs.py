"""costs.csv: every quantity of every model, numbers with their origin, and nothing measured twice."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from nnunet_spine_ext.benchmark.costs import inference, timing
from nnunet_spine_ext.benchmark.costs import table as cost_table
from nnunet_spine_ext.benchmark.costs.inference import PredictionCost
from nnunet_spine_ext.benchmark.costs.logs import TrainingTime
from nnunet_spine_ext.benchmark.costs.process import NotMeasuredError
from nnunet_spine_ext.benchmark.costs.rows import UNITS, Measured, ModelCosts, Predicted
from nnunet_spine_ext.benchmark.costs.table import write_costs
from nnunet_spine_ext.benchmark.costs.timing import StepTimes, TimingOptions
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SetupError
from tests.conftest import NnunetFolders
from tests.training.tiny import MakeTrainer

QUANTITIES = [
    "parameters", "gmac", "counted_training_memory_gb", "measured_training_memory_gb", "iteration_seconds",
    "iteration_seconds_with_loading", "training_hours", "inference_seconds_per_case", "inference_peak_memory_gb",
]  # fmt: skip
BASELINE = Model(trainer="SpineBaselineTrainer", plans="nnUNetPlans", configuration="3d_fullres", title="Stock")
FLAT = Model(trainer="nnUNetTrainer_5epochs", plans="nnUNetPlans", configuration="2d", title="Flat, stock")
TIMES = StepTimes(
    seconds=(0.4, 0.2, 0.3),
    seconds_with_loading=(0.9, 0.5, 0.7),
    warm_up_steps=250,
    steps=50,
    batch_size=2,
    loading_processes=12,
    compiled=True,
    precision="fp16 autocast",
    allocated_bytes=6 * 2**30,
    reserved_bytes=7 * 2**30,
    used_by_others_bytes=2**29,
)
COST = PredictionCost(
    seconds=(3.0, 5.0),
    cases=("a_0000.nii.gz", "b_0000.nii.gz"),
    peak_bytes=3 * 2**30,
    gpu_peak_bytes=2**31,
    mirroring_axes=(0, 1),
    fold="0",
)


def read(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Model → quantity → row."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["model"], {})[row["quantity"]] = row
    return found


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure here, where nnU-Net is imported already, but for what goes in and out as JSON."""
    for module in (timing, inference):
        monkeypatch.setattr(module, "start_as_nnunet", lambda device: None)  # threads are set for good
        monkeypatch.setattr(module, "measured_apart", _answer_of(module))


def _answer_of(module: Any) -> Callable[..., Any]:
    def answer(_: str, question: object, **__: object) -> Any:
        return json.loads(json.dumps(module._answer(json.loads(json.dumps(question)))))

    return answer


def check_a_trained_model(folders: NnunetFolders, make_trainer: MakeTrainer, output: Path) -> None:
    """Train for three epochs; compare the table with what the trainer itself knows."""
    model = replace(BASELINE, trainer="SpineBaselineTrainer_3epochs_2iterations")
    trainer = make_trainer(model.trainer)
    trainer.logger.plot_progress_png = lambda folder: None  # seconds for each epoch
    trainer.run_training()
    results_before = sorted(folders.results.rglob("*"))
    rows = read(write_costs([model], 901, output, cases=1))["Stock"]
    assert list(rows) == QUANTITIES
    assert rows["parameters"]["value"] == str(sum(p.numel() for p in trainer.network.parameters()))
    stamps = trainer.logger.get_checkpoint()
    took = zip(stamps["epoch_start_timestamps"], stamps["epoch_end_timestamps"], strict=True)
    hours = 3 * median(end - start for start, end in took) / 3600
    assert float(rows["training_hours"]["value"]) == pytest.approx(hours, abs=3 * 0.006 / 3600)  # logs have two digits
    assert all(float(rows[q]["value"]) > 0 for q in QUANTITIES if q != "measured_training_memory_gb")
    # Nothing here was measured on a GPU, and nothing says so.
    assert (rows["measured_training_memory_gb"]["value"], rows["measured_training_memory_gb"]["note"]) == ("", "no GPU")
    assert rows["iteration_seconds"]["note"].startswith("CPU (")
    assert "median of 1 case (t4_0000.nii.gz)" in rows["inference_seconds_per_case"]["note"]
    assert sorted(folders.results.rglob("*")) == results_before


@pytest.mark.usefixtures("in_this_process")
def test_a_trained_model_is_counted_measured_and_read(
    tiny: NnunetFolders, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    check_a_trained_model(tiny, make_trainer, tmp_path / "out" / "costs.csv")
    environment = json.loads((tmp_path / "out" / "environment.json").read_text())
    assert environment["torch"] == torch.__version__.split("+")[0]
    assert (environment["device"], environment["gpu"]) == ("cpu", "none used")


@pytest.mark.slow
def test_a_trained_model_is_measured_in_processes_of_their_own(
    tiny: NnunetFolders, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    check_a_trained_model(tiny, make_trainer, tmp_path / "costs.csv")


@pytest.mark.usefixtures("tiny")
def test_every_model_has_every_row_in_the_order_given(instead: dict[str, Any], tmp_path: Path) -> None:
    instead["inference"] = NotMeasuredError("no fold is trained to the end")
    table = read(write_costs([FLAT, BASELINE], 901, tmp_path / "costs.csv"))
    assert list(table) == ["Flat, stock", "Stock"]
    for rows in table.values():
        assert list(rows) == QUANTITIES
        assert [row["unit"] for row in rows.values()] == list(UNITS.values())
        assert all(row["value"] or row["note"] for row in rows.values())
    assert table["Stock"]["inference_peak_memory_gb"]["note"] == "no fold is trained to the end"
    assert table["Stock"]["training_hours"]["note"] == "no finished fold with a training log"
    assert table["Stock"]["gmac"]["value"] != table["Flat, stock"]["gmac"]["value"]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Take the place of both measurements: what they return or raise, and how often they were asked."""
    what: dict[str, Any] = {"training": TIMES, "inference": COST, "asked": []}

    def measurement(kind: str) -> Callable[..., Any]:
        def measure(*_: object, **__: object) -> object:
            what["asked"].append(kind)
            if isinstance(what[kind], Exception):
                raise what[kind]
            return what[kind]

        return measure

    monkeypatch.setattr(cost_table, "time_steps", measurement("training"))
    monkeypatch.setattr(cost_table, "predict_and_measure", measurement("inference"))
    monkeypatch.setattr(cost_table, "find_trained_fold", lambda *_, **__: None)
    return what


@pytest.mark.usefixtures("tiny")
def test_nothing_is_measured_twice_until_something_changes(
    instead: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "costs.csv"
    first = write_costs([BASELINE], 901, output).read_bytes()
    assert instead["asked"] == ["training", "inference"]
    instead["training"] = replace(TIMES, seconds=(9.0, 9.0, 9.0))
    assert write_costs([BASELINE], 901, output).read_bytes() == first
    assert write_costs([BASELINE], 901, output, measure=False).read_bytes() == first
    assert len(instead["asked"]) == 2
    monkeypatch.setattr(cost_table, "describe_environment", lambda device: {"cpu": "another", "cpu_cores": "1"})
    write_costs([BASELINE], 901, output)
    assert instead["asked"] == ["training", "inference"] * 2
    assert read(output)["Stock"]["iteration_seconds"]["value"] == "9.0"
    write_costs([BASELINE], 901, output, timing=TimingOptions(steps=7))
    assert instead["asked"] == ["training", "inference"] * 3


@pytest.mark.usefixtures("tiny")
def test_what_fails_is_tried_again_and_costs_the_others_nothing(instead: dict[str, Any], tmp_path: Path) -> None:
    instead["training"] = NotMeasuredError("OutOfMemoryError: CUDA out of memory")
    rows = read(write_costs([BASELINE], 901, tmp_path / "costs.csv"))["Stock"]
    for quantity in ("measured_training_memory_gb", "iteration_seconds", "iteration_seconds_with_loading"):
        assert rows[quantity]["value"] == ""
        assert "OutOfMemoryError: CUDA out of memory" in rows[quantity]["note"]
    assert rows["inference_seconds_per_case"]["value"] == "4.0"
    instead["training"] = TIMES
    rows = read(write_costs([BASELINE], 901, tmp_path / "costs.csv"))["Stock"]
    assert rows["iteration_seconds"]["value"] == "0.3"
    assert instead["asked"] == ["training", "inference", "training"]


@pytest.mark.usefixtures("tiny")
def test_a_network_that_cannot_be_counted_says_so(
    instead: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ValueError("needs patches\nof 64")

    monkeypatch.setattr(cost_table, "count_network", refuse)
    rows = read(write_costs([BASELINE], 901, tmp_path / "costs.csv"))["Stock"]
    assert (
        rows["gmac"]["note"] == rows["parameters"]["note"] == "could not be counted (ValueError: needs patches of 64)"
    )
    assert rows["gmac"]["value"] == ""
    assert float(rows["counted_training_memory_gb"]["value"]) > 0


@pytest.mark.usefixtures("tiny")
def test_without_measuring_the_rows_are_there(instead: dict[str, Any], tmp_path: Path) -> None:
    rows = read(write_costs([BASELINE], 901, tmp_path / "costs.csv", measure=False))["Stock"]
    assert list(rows) == QUANTITIES
    assert instead["asked"] == []
    assert {rows[q]["note"] for q in QUANTITIES[3:6] + QUANTITIES[7:]} == {"not measured"}


@pytest.mark.usefixtures("tiny")
def test_wrong_names_are_told_before_anything_is_written(tmp_path: Path) -> None:
    output = tmp_path / "out" / "costs.csv"
    with pytest.raises(SetupError, match="There is no AbsentPlans"):
        write_costs([replace(BASELINE, plans="AbsentPlans")], 901, output)
    with pytest.raises(SetupError, match="no trainer called 'AbsentTrainer'"):
        write_costs([replace(BASELINE, trainer="AbsentTrainer")], 901, output)
    assert not output.exists()


@pytest.mark.usefixtures("tiny")
def test_without_the_gpu_that_was_asked_for_nothing_is_measured_and_what_was_stays(
    instead: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "costs.csv"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows = read(write_costs([BASELINE], 901, output, device="cuda"))["Stock"]
    assert {rows[q]["note"] for q in QUANTITIES[3:6] + QUANTITIES[7:]} == {"no GPU"}
    assert instead["asked"] == []
    with monkeypatch.context() as gpu:  # on a machine with one ...
        gpu.setattr(torch.cuda, "is_available", lambda: True)
        gpu.setattr(cost_table, "describe_environment", lambda device: {"device": device, "gpu": "NVIDIA A100"})
        on_gpu = write_costs([BASELINE], 901, output, device="cuda").read_bytes()
    assert instead["asked"] == ["training", "inference"]
    assert read(output)["Stock"]["iteration_seconds"]["note"].startswith("NVIDIA A100; ")
    # ... and afterwards on one without.
    assert write_costs([BASELINE], 901, output, device="cuda").read_bytes() == on_gpu
    assert json.loads((tmp_path / "environment.json").read_text()) == {"device": "cuda", "gpu": "NVIDIA A100"}
    assert len(instead["asked"]) == 2


def made_up(**known: Any) -> dict[str, tuple[float | None, str]]:
    nothing = dict.fromkeys(("network", "training", "measured", "logged", "predicted"), "unknown")
    rows = ModelCosts(title="M", **{**nothing, **known}).rows()
    assert [row.quantity for row in rows] == QUANTITIES == list(UNITS)
    return {row.quantity: (row.value, row.note) for row in rows}


def test_figures_of_a_gpu_by_hand() -> None:
    rows = made_up(measured=Measured(on="NVIDIA A100", times=TIMES), predicted=Predicted(on="NVIDIA A100", cost=COST))
    memory, note = rows["measured_training_memory_gb"]
    assert memory == 7.0
    assert note == (
        "NVIDIA A100; batch 2, fp16 autocast, torch.compile; reserved by torch, of which tensors took 6.00 GB; "
        "the CUDA context comes on top"
    )
    seconds, note = rows["iteration_seconds"]
    assert seconds == 0.3
    assert "median of 3 blocks of 50 steps after 250 for warming up; always the same batch" in note
    assert "NOT ALONE" not in note
    assert rows["iteration_seconds_with_loading"][0] == 0.7
    assert rows["iteration_seconds_with_loading"][1].endswith("batches from 12 loading processes")
    assert rows["inference_seconds_per_case"][0] == 4.0
    assert "mirrored along axis 0 and 1" in rows["inference_seconds_per_case"][1]
    assert rows["inference_peak_memory_gb"][0] == 3.0
    assert rows["inference_peak_memory_gb"][1].endswith("on the GPU 2.00 GB")
    assert rows["gmac"] == (None, "unknown")


def test_times_taken_beside_others_say_so() -> None:
    crowded = replace(TIMES, used_by_others_bytes=5 * 2**30)
    assert "NOT ALONE: 5.0 GB" in made_up(measured=Measured(on="GPU", times=crowded))["iteration_seconds"][1]
    busy, idle = (replace(TIMES, load_before=load, cores=2) for load in (7.25, 2.0))
    assert "load average 7.2 on 2 cores" in made_up(measured=Measured(on="CPU", times=busy))["iteration_seconds"][1]
    assert "NOT ALONE" not in made_up(measured=Measured(on="CPU", times=idle))["iteration_seconds"][1]


def test_without_a_measurement_an_epoch_of_the_logs_gives_the_step_with_loading() -> None:
    logged = TrainingTime(
        hours=10.0, epoch_seconds=36.0, epochs=1000, iterations=250, folds=("0", "1"), devices=("NVIDIA A100",)
    )
    rows = made_up(logged=logged, measured="not measured")
    assert rows["iteration_seconds_with_loading"][0] == 36.0 / 250
    assert "from the logs" in rows["iteration_seconds_with_loading"][1]
    assert rows["iteration_seconds"] == (None, "not measured")
    assert rows["training_hours"][0] == 10.0
    assert rows["training_hours"][1].startswith(
        "NVIDIA A100; one fold: 1000 epochs of 36 s (median of the logs of fold"
    )
    assert made_up(logged=replace(logged, iterations=None))["iteration_seconds_with_loading"] == (None, "unknown")
