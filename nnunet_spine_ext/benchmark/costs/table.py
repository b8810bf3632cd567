"""costs.csv: what each model of a comparison costs, counted, measured, and read from its training logs.

Counts need no GPU and no training. Step times and the peak of a training are measured with the trainer's own steps,
prediction with a finished fold; both in a process of their own. Hours come from the logs of the finished folds. A
quantity that is not known is a row without a value, whose note says why.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from nnunet_spine_ext.benchmark.costs.counts import count_network, count_training
from nnunet_spine_ext.benchmark.costs.environment import describe_environment
from nnunet_spine_ext.benchmark.costs.inference import PredictionCost, find_trained_fold, predict_and_measure
from nnunet_spine_ext.benchmark.costs.logs import TrainingTime, finished_folds, training_time
from nnunet_spine_ext.benchmark.costs.plan import PlannedModel, read_planned
from nnunet_spine_ext.benchmark.costs.process import NotMeasuredError
from nnunet_spine_ext.benchmark.costs.records import CostRecords
from nnunet_spine_ext.benchmark.costs.rows import COLUMNS, CostRow, Measured, ModelCosts, Predicted
from nnunet_spine_ext.benchmark.costs.timing import StepTimes, TimingOptions, time_steps
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.data.files import read_json_if_there, write_json, write_text
from nnunet_spine_ext.paths import nnunet_folder

ENVIRONMENT_FILE = "environment.json"
NOT_ASKED, NO_GPU = "not measured", "no GPU"

Counted = TypeVar("Counted")


def write_costs(
    models: Sequence[Model],
    dataset_id: int,
    output: Path,
    *,
    results: Path | None = None,
    measure: bool = True,
    device: str = "cpu",
    timing: TimingOptions | None = None,
    cases: int = 2,
) -> Path:
    """Write costs.csv (model, quantity, value, unit, note) and, beside it, environment.json (hardware and versions).

    What was measured is kept in `costs/` beside the table: a model that was measured with the same plan, hardware,
    versions and options is not measured again. Run it while nothing else runs on the device. Where a GPU is asked for
    and there is none, nothing is measured, as with `measure=False`.

    Args:
        models: in the order of the table; every one gets a row for every quantity.
        dataset_id: the number in `Dataset<ID>_<Name>`.
        output: the table.
        results: where the trained models lie; None for what `nnUNet_results` names.
        measure: False counts and reads logs only, and takes over what was measured before.
        device: "cuda" or "cpu": what is measured on.
        timing: how many steps; None for the defaults of the device.
        cases: how many cases are predicted at most.

    Returns:
        `output`.

    Raises:
        SetupError: dataset, plans or trainers are missing.
        DataError: the files cannot be written.
    """
    planned = read_planned(dataset_id, models)
    _check_trainers(planned)
    results = results or nnunet_folder("nnUNet_results")
    reason = _why_not(measure=measure, device=device)
    output.parent.mkdir(parents=True, exist_ok=True)
    settings = _Settings(
        folder=output.parent,
        results=results,
        why_not=reason,
        device=device,
        environment=_environment(output.parent / ENVIRONMENT_FILE, measure=not reason, device=device),
        timing=timing or TimingOptions.for_device(device),
        cases=cases,
    )
    rows = [
        row
        for model, its_plan in zip(models, tqdm(planned, desc="Costs", disable=None), strict=True)
        for row in _costs(model, its_plan, settings).rows()
    ]
    write_text(_as_csv(rows), output)
    return output


@dataclass(frozen=True, kw_only=True)
class _Settings:
    folder: Path
    """Of the table."""
    results: Path
    why_not: str
    """Why nothing is measured; empty to measure."""
    device: str
    environment: Mapping[str, str]
    timing: TimingOptions
    cases: int

    @property
    def on(self) -> str:
        """The device by its name."""
        if self.device == "cuda":
            return self.environment["gpu"]
        return f"CPU ({self.environment['cpu']}, {self.environment['cpu_cores']} cores)"


def _why_not(*, measure: bool, device: str) -> str:
    import torch

    if not measure:
        return NOT_ASKED
    return NO_GPU if device == "cuda" and not torch.cuda.is_available() else ""


def _check_trainers(planned: Sequence[PlannedModel]) -> None:
    from nnunet_spine_ext.planning.trainers import find_trainer

    for name in {p.trainer for p in planned}:
        find_trainer(name)


def _environment(file: Path, *, measure: bool, device: str) -> dict[str, str]:
    """Return hardware and versions, and write them down; without measuring, those of the last measurement stay."""
    if not measure and (kept := read_json_if_there(file)) is not None:
        return kept
    found = describe_environment(device if measure else "cpu")
    write_json(found, file)
    return found


def _costs(model: Model, planned: PlannedModel, settings: _Settings) -> ModelCosts:
    records = CostRecords(settings.folder, model.folder_name)
    folder = settings.results / planned.folder.name / model.folder_name
    return ModelCosts(
        title=model.title,
        network=_counted(lambda: count_network(planned)),
        training=_counted(lambda: count_training(planned)),
        measured=_measured(planned, records, settings),
        logged=_logged(folder),
        predicted=_predicted(folder, planned, records, settings),
    )


def _counted(count: Callable[[], Counted]) -> Counted | str:
    """Return a count, or why there is none: a network that cannot be counted must not cost the others their rows."""
    try:
        return count()
    except Exception as error:
        return f"could not be counted ({type(error).__name__}: {' '.join(str(error).split())})"


def _logged(folder: Path) -> TrainingTime | str:
    return training_time(finished_folds(folder)) or "no finished fold with a training log"


def _measured(planned: PlannedModel, records: CostRecords, settings: _Settings) -> Measured | str:
    def measure() -> dict[str, Any]:
        times = time_steps(planned, device=settings.device, options=settings.timing, results=settings.results)
        return {"on": settings.on, "times": asdict(times)}

    try:
        found = records.kept_or("training", _key(planned, settings), None if settings.why_not else measure)
    except NotMeasuredError as reason:
        return f"{settings.on}: {reason}"
    if found is None:
        return settings.why_not
    return Measured(on=found["on"], times=StepTimes(**_tuples(found["times"])))


def _predicted(folder: Path, planned: PlannedModel, records: CostRecords, settings: _Settings) -> Predicted | str:
    def measure() -> dict[str, Any]:
        raw = nnunet_folder("nnUNet_raw") / planned.folder.name
        fold = find_trained_fold(folder, preprocessed=planned.folder, raw=raw, cases=settings.cases)
        cost = predict_and_measure(fold, device=settings.device, timeout_seconds=settings.timing.timeout_seconds)
        return {"on": settings.on, "cost": asdict(cost)}

    key = {**_key(planned, settings), "cases": settings.cases}
    try:
        found = records.kept_or("inference", key, None if settings.why_not else measure)
    except NotMeasuredError as reason:
        return str(reason)
    if found is None:
        return settings.why_not
    return Predicted(on=found["on"], cost=PredictionCost(**_tuples(found["cost"])))


def _key(planned: PlannedModel, settings: _Settings) -> dict[str, Any]:
    return {"plan": planned.digest, "environment": dict(settings.environment), "options": asdict(settings.timing)}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they were before they went through JSON."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _as_csv(rows: Sequence[CostRow]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([COLUMNS, *(row.cells() for row in rows)])
    return text.getvalue()
