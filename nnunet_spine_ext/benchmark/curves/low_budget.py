"""Low-budget curves: how good each model is after few epochs (paper 001, figure 8).

Two kinds of points, for whatever is trained so far:
 - where checkpoints were kept along the training (`NNUNET_SPINE_KEEP_EPOCHS`), each fold's validation cases are
   predicted with every one of them and measured like final results;
 - for every model, nnU-Net's own estimate of each epoch, `pseudo_dice`: the mean over structures of the Dice of a few
   validation patches taken together. It is there for stock trainers, too, but it is not a Dice over cases: compare it
   only with itself.

The table has the columns `dataset, model, fold, seed, epoch, case, label, metric, value`; the case of a pseudo Dice is
empty. Epoch n is the state after n epochs. Cells are kept in `<comparison>/budget/`, as for robustness curves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from nnunet_spine_ext.benchmark.curves.cells import Cell, CellStore, checkpoint_digest, digest_of
from nnunet_spine_ext.benchmark.curves.data import CaseGroup, CurveData, CurveRow, require_metrics
from nnunet_spine_ext.benchmark.curves.images import link_unchanged
from nnunet_spine_ext.benchmark.curves.predicting import (
    NNUNETS_DEFAULTS,
    PredictionOptions,
    PredictionTask,
    Predictor,
    predict,
)
from nnunet_spine_ext.benchmark.jobs.state import FINAL, LATEST, is_whole_checkpoint
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES
from nnunet_spine_ext.paths import nnunet_folder

COLUMNS = ("dataset", "model", "fold", "seed", "epoch", "case", "label", "metric", "value")
BUDGET_METRICS = ("dice", "iou", "sensitivity", "specificity", "accuracy", "mse")
"""The six that paper 001 follows along training."""
PSEUDO_DICE = "pseudo_dice"
_RESULTS = "nnUNet_results"
_KEPT = re.compile(r"checkpoint_epoch_(\d+)\.pth")


@dataclass(frozen=True, kw_only=True)
class _Training:
    """One model, fold and seed, with some checkpoint."""

    model: Model
    group: CaseGroup
    """The cases that the fold validates."""
    seed: int
    results: Path
    folder: Path
    newest: Path
    """The checkpoint that knows most epochs."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.model.folder_name, f"seed_{self.seed}", self.group.name)

    @property
    def head(self) -> tuple[object, ...]:
        return (self.model.title, self.group.folds[0], self.seed)

    @property
    def kept(self) -> dict[int, Path]:
        """Return epochs → checkpoint, in rising order."""
        found = {int(m[1]): file for file in self.folder.glob("*.pth") if (m := _KEPT.fullmatch(file.name))}
        return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True)
class _Point:
    """A checkpoint to predict with."""

    training: _Training
    epochs: int
    checkpoint: Path
    cell: Cell


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What all points of a call have in common."""

    data: CurveData
    signatures: Mapping[CaseGroup, str]
    store: CellStore
    table: Path
    metrics: tuple[str, ...]
    processes: int
    options: PredictionOptions
    predictor: Predictor | None


def run_low_budget(
    models: Sequence[Model],
    dataset_id: int,
    folder: Path,
    *,
    folds: Sequence[int] = (0, 1, 2, 3, 4),
    seeds: Sequence[int] = (0,),
    metrics: Sequence[str] = BUDGET_METRICS,
    processes: int = 2,
    options: PredictionOptions = NNUNETS_DEFAULTS,
    results: Path | None = None,
    predictor: Predictor | None = None,
) -> Path:
    """Measure the checkpoints kept along training and write `budget.csv`; return its path.

    A killed run goes on where it stopped. What is not trained yet is passed over.

    Args:
        models: what was trained.
        dataset_id: the dataset.
        folder: the comparison's folder.
        folds: the folds to look at.
        seeds: the runs; 0 lies in `results`, others in `<folder>/seeds/<s>/nnUNet_results`.
        metrics: which metrics are kept.
        processes: cases measured at once.
        options: how nnU-Net predicts.
        results: where the models of seed 0 lie; None for nnUNet_results.
        predictor: what predicts; None for nnU-Net in a process of its own.

    Raises:
        SetupError: the dataset or its folds are not there, or another run works in this folder.
        DataError: images or references are missing.
        SpineExtError: there is no such metric; or some predictions failed: the others are kept.
    """
    require_metrics(metrics)
    data = CurveData.of(dataset_id)
    groups = data.groups("validation", folds)
    first = results or nnunet_folder(_RESULTS)
    trainings = [
        training
        for model in models
        for seed in seeds
        for group in groups
        for training in _trained(
            model, group, seed, first if seed == 0 else folder / "seeds" / str(seed) / _RESULTS, data
        )
    ]
    run = _Run(
        data=data,
        signatures={group: data.signature(group) for group in groups},
        store=CellStore(folder=folder / "budget"),
        table=folder / "budget.csv",
        metrics=tuple(metrics),
        processes=processes,
        options=options,
        predictor=predictor,
    )
    with run.store.held():
        return _measure_all(trainings, run)


def pseudo_dice(checkpoint: Path) -> list[float]:
    """Return what nnU-Net noted for every epoch of a training, the mean over structures; NaN where it had none."""
    import torch

    # As nnU-Net reads it; the weights stay on the disk.
    known = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)
    return [float(value) for value in known["logging"]["mean_fg_dice"]]


def _trained(model: Model, group: CaseGroup, seed: int, results: Path, data: CurveData) -> list[_Training]:
    """Return the training, or nothing if it has no checkpoint yet."""
    folder = results / data.name / model.folder_name / f"fold_{group.folds[0]}"
    newest = [file for name in (FINAL, LATEST) if is_whole_checkpoint(file := folder / name)]
    return [
        _Training(model=model, group=group, seed=seed, results=results, folder=folder, newest=file)
        for file in newest[:1]
    ]


def _measure_all(trainings: Sequence[_Training], run: _Run) -> Path:
    estimates = {training: _estimate(training, run.store) for training in trainings}
    points = [point for training, cell in estimates.items() for point in _points(training, cell, run)]
    _join(estimates, points, run)
    failures = []
    for point in tqdm([point for point in points if not run.store.has(point.cell)], desc="Low budget"):
        try:
            run.store.add(point.cell, _measure(point, run))
        except SpineExtError as error:
            failures.append(f"{point.checkpoint}: {error}")
    _join(estimates, points, run)
    if failures:
        told = "\n".join(failures)
        raise SpineExtError(f"Not all low-budget curves could be measured; what is done is in {run.table}.\n{told}")
    return run.table


def _estimate(training: _Training, store: CellStore) -> Cell:
    """Return the cell of nnU-Net's own estimates, made if need be; its rows begin with the epoch."""
    cell = Cell(place=(*training.place, PSEUDO_DICE), digest=digest_of(checkpoint_digest(training.newest)))
    if not store.has(cell):
        values = enumerate(pseudo_dice(training.newest), start=1)
        shown = [(str(epoch), "" if math.isnan(value) else repr(value)) for epoch, value in values]
        store.add(cell, [(epoch, "", ALL_STRUCTURES, PSEUDO_DICE, value) for epoch, value in shown])
    return cell


def _points(training: _Training, estimate: Cell, run: _Run) -> list[_Point]:
    """Return the kept checkpoints and, where some were kept, the final one."""
    checkpoints = training.kept
    if checkpoints and training.newest.name == FINAL:
        checkpoints.setdefault(len(run.store.rows(estimate)), training.newest)
    if not checkpoints:
        return []
    settings = [run.signatures[training.group], run.options.mirroring, sorted(run.metrics)]
    return [
        _Point(
            training=training,
            epochs=epochs,
            checkpoint=file,
            cell=Cell(
                place=(*training.place, f"epoch_{epochs:04d}"), digest=digest_of(checkpoint_digest(file), settings)
            ),
        )
        for epochs, file in sorted(checkpoints.items())
    ]


def _measure(point: _Point, run: _Run) -> list[CurveRow]:
    training = point.training
    with run.store.scratch() as scratch:
        link_unchanged(run.data, training.group, scratch / "images")
        task = PredictionTask(
            model=training.model,
            dataset=run.data.name,
            folds=training.group.folds,
            images=scratch / "images",
            output=scratch / "predictions",
            results=training.results,
            checkpoint=point.checkpoint.name,
            options=run.options,
        )
        predict(task, run.predictor)
        return run.data.measure(task.output, training.group, metrics=run.metrics, processes=run.processes)


def _join(estimates: Mapping[_Training, Cell], points: Sequence[_Point], run: _Run) -> None:
    name = run.data.name
    rows: list[tuple[Sequence[object], Cell]] = []
    for training, estimate in estimates.items():
        rows += [((name, *training.head, p.epochs), p.cell) for p in points if p.training == training]
        rows.append(((name, *training.head), estimate))
    run.store.join(run.table, COLUMNS, rows)
