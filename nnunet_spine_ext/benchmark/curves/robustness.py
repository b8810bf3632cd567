"""Robustness curves: how each model's accuracy falls as the images get worse (paper 004, section 2.10).

    trained folds ─▶ perturb the cases ─▶ predict (nnU-Net, its own process) ─▶ measure ─▶ a cell ─▶ robustness.csv

A cell is one model, perturbation, strength and fold. Each is kept in `<comparison>/robustness/` when it is done; what
was written on the way is removed. The table has the columns `dataset, model, perturbation, strength, case, label,
metric, value`. The image as it is was predicted in the same way, once, and stands in every curve at the perturbation's
neutral strength. A point is in the table when all its folds are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from nnunet_spine_ext.benchmark.curves.cells import Cell, CellStore, checkpoint_digest, digest_of
from nnunet_spine_ext.benchmark.curves.data import CaseGroup, CurveData, CurveRow, Subset, require_metrics
from nnunet_spine_ext.benchmark.curves.images import link_unchanged, write_perturbed
from nnunet_spine_ext.benchmark.curves.perturbations import PERTURBATIONS, VERSION, find_perturbation
from nnunet_spine_ext.benchmark.curves.predicting import (
    NNUNETS_DEFAULTS,
    PredictionOptions,
    PredictionTask,
    Predictor,
    predict,
)
from nnunet_spine_ext.benchmark.jobs.state import FINAL
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SetupError, SpineExtError
from nnunet_spine_ext.paths import nnunet_folder

COLUMNS = ("dataset", "model", "perturbation", "strength", "case", "label", "metric", "value")
CURVE_METRICS = ("dice", "iou")
"""Those of paper 004; all of them for all points would make a table of millions of rows."""
UNCHANGED = "unchanged"

_Point = tuple[str, float]
"""perturbation, strength; (`UNCHANGED`, 0) for the image as it is"""
_Digests = Mapping[tuple[str, CaseGroup], str]
"""folder of a model, cases → what their cells are made of"""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What all cells of a call have in common."""

    data: CurveData
    groups: tuple[CaseGroup, ...]
    results: Path
    metrics: tuple[str, ...]
    seed: int
    processes: int
    options: PredictionOptions
    predictor: Predictor | None
    store: CellStore

    def checkpoints(self, model: Model, group: CaseGroup) -> list[Path]:
        folder = self.results / self.data.name / model.folder_name
        return [folder / f"fold_{fold}" / FINAL for fold in group.folds]

    def digests(self, models: Sequence[Model]) -> _Digests:
        settings = [VERSION, self.seed, self.options.mirroring, sorted(self.metrics)]
        signatures = {group: self.data.signature(group) for group in self.groups}
        return {
            (model.folder_name, group): digest_of(
                [checkpoint_digest(file) for file in self.checkpoints(model, group)], signatures[group], settings
            )
            for model in models
            for group in self.groups
        }


def run_robustness(
    models: Sequence[Model],
    dataset_id: int,
    folder: Path,
    *,
    strengths: Mapping[str, Sequence[float]] | None = None,
    subset: Subset = "validation",
    folds: Sequence[int] = (0, 1, 2, 3, 4),
    metrics: Sequence[str] = CURVE_METRICS,
    seed: int = 0,
    processes: int = 2,
    options: PredictionOptions = NNUNETS_DEFAULTS,
    results: Path | None = None,
    predictor: Predictor | None = None,
) -> Path:
    """Predict perturbed images with trained models and write `robustness.csv`; return its path.

    A killed run goes on where it stopped. Points that an earlier run measured with the same weights stay in the table,
    whichever perturbations this one asks for. A model that cannot be predicted does not stop the others.

    Args:
        models: what to predict with.
        dataset_id: the dataset.
        folder: the comparison's folder.
        strengths: perturbation → strengths; None for all, with their usual strengths (see `usual_strengths`).
        subset: `validation`: each training case with the fold that did not train on it; `test`: imagesTs with the mean
            of all folds.
        folds: the folds to use.
        metrics: which metrics are kept.
        seed: of the perturbations.
        processes: cases perturbed and measured at once.
        options: how nnU-Net predicts.
        results: where the models lie; None for nnUNet_results.
        predictor: what predicts; None for nnU-Net in a process of its own.

    Raises:
        SetupError: a fold is not trained, or another run works in this folder.
        DataError: images or references are missing.
        SpineExtError: no such perturbation, strength or metric; or some predictions failed: the others are kept.
    """
    points = _points(usual_strengths() if strengths is None else strengths)
    require_metrics(metrics)
    data = CurveData.of(dataset_id)
    run = _Run(
        data=data,
        groups=data.groups(subset, folds),
        results=results or nnunet_folder("nnUNet_results"),
        metrics=tuple(metrics),
        seed=seed,
        processes=processes,
        options=options,
        predictor=predictor,
        store=CellStore(folder=folder / "robustness" / subset),
    )
    _require_trained(models, run)
    with run.store.held():
        return _measure_all(models, points, run, folder / "robustness.csv")


def usual_strengths(names: Sequence[str] | None = None) -> dict[str, tuple[float, ...]]:
    """Return perturbation → its usual strengths, for some perturbations or for all.

    Raises:
        SpineExtError: there is no such perturbation.
    """
    chosen = PERTURBATIONS if names is None else names
    unknown = [name for name in chosen if name not in PERTURBATIONS]
    if unknown:
        raise SpineExtError(f"No perturbation is called {', '.join(unknown)}; there are {', '.join(PERTURBATIONS)}.")
    return {name: PERTURBATIONS[name].facts.strengths for name in chosen}


def _points(strengths: Mapping[str, Sequence[float]]) -> list[_Point]:
    """Return what to predict, the image as it is first."""
    named = [(name, float(strength)) for name, values in strengths.items() for strength in sorted(set(values))]
    return [
        (UNCHANGED, 0.0),
        *((name, strength) for name, strength in named if strength != find_perturbation(name, strength).facts.neutral),
    ]


def _require_trained(models: Sequence[Model], run: _Run) -> None:
    missing = sorted(
        {f for model in models for group in run.groups for f in run.checkpoints(model, group) if not f.is_file()}
    )
    if missing:
        listed = "\n".join(f"  {file}" for file in missing)
        raise SetupError(f"Not trained to the end:\n{listed}\nTrain these folds, or name the folds that are trained.")


def _measure_all(models: Sequence[Model], points: Sequence[_Point], run: _Run, table: Path) -> Path:
    digests = run.digests(models)
    _join(models, digests, run, table)
    cells = {(m, p): [(g, _cell(m, p, g, digests)) for g in run.groups] for m in models for p in points}
    left = sum(not run.store.has(cell) for row in cells.values() for _, cell in row)
    failures: dict[str, str] = {}
    with tqdm(total=left, desc="Robustness") as bar:
        for (model, point), row in cells.items():
            todo = [(group, cell) for group, cell in row if not run.store.has(cell)]
            if not todo or model.title in failures:
                continue
            bar.set_postfix_str(f"{model.title}, {point[0]} {point[1]:g}")
            try:
                for group, cell in todo:
                    run.store.add(cell, _measure(model, point, group, run))
                    bar.update()
            except SpineExtError as error:
                failures[model.title] = str(error)
            _join(models, digests, run, table)
    if failures:
        told = "\n".join(f"{title}: {message}" for title, message in failures.items())
        raise SpineExtError(f"Not all robustness curves could be measured; what is done is in {table}.\n{told}")
    return table


def _measure(model: Model, point: _Point, group: CaseGroup, run: _Run) -> list[CurveRow]:
    perturbation, strength = point
    with run.store.scratch() as scratch:
        images, output = scratch / "images", scratch / "predictions"
        if perturbation == UNCHANGED:
            link_unchanged(run.data, group, images)
        else:
            write_perturbed(
                run.data,
                group,
                images,
                perturbation=perturbation,
                strength=strength,
                seed=run.seed,
                processes=run.processes,
            )
        task = PredictionTask(
            model=model,
            dataset=run.data.name,
            folds=group.folds,
            images=images,
            output=output,
            results=run.results,
            options=run.options,
        )
        predict(task, run.predictor)
        return run.data.measure(output, group, metrics=run.metrics, processes=run.processes)


def _join(models: Sequence[Model], digests: _Digests, run: _Run, table: Path) -> None:
    rows = [
        ((run.data.name, model.title, name, repr(strength)), cell)
        for model in models
        for name in PERTURBATIONS
        for strength, cells in _curve(model, name, digests, run)
        for cell in cells
    ]
    run.store.join(table, COLUMNS, rows)


def _curve(model: Model, name: str, digests: _Digests, run: _Run) -> Iterator[tuple[float, list[Cell]]]:
    """Yield the points whose cells are all there, this time or from before, the image as it is first."""
    measured = sorted(float(f.name) for f in (run.store.folder / model.folder_name / name).glob("*"))
    points = [(strength, (name, strength)) for strength in measured]
    found = [(s, [_cell(model, point, group, digests) for group in run.groups]) for s, point in points]
    complete = [(s, cells) for s, cells in found if all(run.store.has(cell) for cell in cells)]
    if complete:
        unchanged = [_cell(model, (UNCHANGED, 0.0), group, digests) for group in run.groups]
        yield float(PERTURBATIONS[name].facts.neutral), unchanged
    yield from complete


def _cell(model: Model, point: _Point, group: CaseGroup, digests: _Digests) -> Cell:
    perturbation, strength = point
    return Cell(
        place=(model.folder_name, perturbation, repr(strength), group.name),
        digest=digests[model.folder_name, group],
    )
