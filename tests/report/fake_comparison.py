"""A whole comparison, made up: tables only, for quick tests; or with images, predictions and measured metrics.

python -m tests.report.fake_comparison FOLDER    # 20 cases, 19 structures, 4 models, as large as a page gets
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from nnunet_spine_ext.data.geometry import Grid, read_image, voxels, write_image
from nnunet_spine_ext.data.phantom import write_phantom
from nnunet_spine_ext.evaluation.cases import COLUMNS, evaluate_folder
from nnunet_spine_ext.evaluation.confusion import CONFUSION_COLUMNS, confusion_path
from nnunet_spine_ext.report.comparison_files import BUDGET, COSTS, ROBUSTNESS
from nnunet_spine_ext.report.paper_tables import NAMES_003

DATASET = "Dataset501_Fake"
FOLDS = 5
MODELS = {
    "stock nnU-Net": 1.9,
    "SpineHybrid": 1.7,
    "SpineDeepLabV3Plus 3d_fullres": 2.6,
    "SpineASPPUNetPaperTrainer__SpineASPPUNetPlans__3d_lowres_with_a_long_name": 3.2,
}
"""Title → how far its borders are off, in voxels."""
BASELINE = "stock nnU-Net"


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def change(path: Path, old: str, new: str) -> None:
    """Replace the one place where a file says `old`."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old, text.count(old))
    path.write_text(text.replace(old, new), encoding="utf-8")


# --- tables only -----------------------------------------------------------------------------------------------------

SMALL_MODELS = ("stock", "SpineHybrid", "SpineDeepLabV3Plus")
SMALL_STRUCTURES = ("S", "L5", "L5/S")


def write_small_comparison(folder: Path, *, cases: int = 10) -> Path:
    """Write every table of a comparison of three models on a few cases; the scores are simple arithmetic."""
    named = [f"c{i:02}" for i in range(cases)]
    rows: list[Sequence[object]] = []
    for m, model in enumerate(SMALL_MODELS):
        for i, case in enumerate(named):
            keys = (DATASET, model, i % FOLDS, 0, case)
            for s, structure in enumerate(SMALL_STRUCTURES):
                rows.append((*keys, structure, "dice", repr(score(m, i, s))))
                rows.append((*keys, structure, "identified", repr(float((i + m) % 4 > 0))))
            rows.append((*keys, "all structures", "identification_rate", repr(float((i + m) % 4 > 0))))
            rows.append((*keys, "all structures", "shifted_structures", repr(3.0 * ((i + m) % 4 == 0))))
            rows.append((*keys, "all structures", "common_shift", repr(float((i + m) % 4 == 0))))
    write_rows(folder / "metrics.csv", COLUMNS, rows)
    write_rows(
        folder / "confusion.csv",
        CONFUSION_COLUMNS,
        (
            (DATASET, model, i % FOLDS, 0, case, r, p, 9000 if r == p else 1000)
            for model in SMALL_MODELS
            for i, case in enumerate(named)
            for r, p in (("S", "S"), ("S", "L5"), ("L5", "L5"), ("background", "background"))
        ),
    )
    write_more_tables(
        folder, {model: float(i + 1) for i, model in enumerate(SMALL_MODELS)}, named[:4], SMALL_STRUCTURES
    )
    (folder / "comparison.json").write_text(json.dumps({"notes": ["A note of the benchmark."], "baseline": "stock"}))
    return folder


def score(model: int, case: int, structure: int) -> float:
    """Return a Dice: parts of powers of two, so that sums are exact; no two cases differ alike between models."""
    return 0.5 + model / 16 + (case % 4) / 32 + structure / 64 + model * case / 1024


# --- the other tables ------------------------------------------------------------------------------------------------


def write_more_tables(
    folder: Path, sizes: Mapping[str, float], cases: Sequence[str], structures: Sequence[str]
) -> None:
    """Write costs, curves and jobs; `sizes` are any numbers that differ by model."""
    write_rows(folder / "costs.csv", COSTS, (row for model, size in sizes.items() for row in _costs(model, size)))
    strengths = {"noise": (0, 10, 30, 50, 70, 90), "blur": (0, 0.5, 1, 2, 3), "thickness": (1, 2, 3, 4, 5)}
    write_rows(
        folder / "robustness.csv",
        ROBUSTNESS,
        (
            (
                DATASET,
                model,
                kind,
                strength,
                case,
                structure,
                "dice",
                repr(round(_worse(size, strength / max(values)), 4)),
            )
            for model, size in sizes.items()
            for kind, values in strengths.items()
            for strength in values
            for case in cases
            for structure in structures
        ),
    )
    write_rows(
        folder / "budget.csv", BUDGET, (row for m, size in sizes.items() for row in _budget(m, size, cases, structures))
    )
    message = "Traceback (most recent call last):\nRuntimeError: <no> & never"
    states = [(model, "done", "") for model in sizes] + [("AlwaysCrashes", "failed", message)]
    write_rows(
        folder / "jobs.csv",
        ("model", "plans", "configuration", "fold", "seed", "state", "message"),
        (
            (model, "nnUNetPlans", "3d_fullres", fold, 0, state, told)
            for model, state, told in states
            for fold in range(FOLDS)
        ),
    )
    facts = {"device": "cuda", "gpu": "An accelerator", "torch": "2.15.0", "nnunetv2": "2.8.1"}
    (folder / "environment.json").write_text(json.dumps(facts))


def _worse(size: float, share: float) -> float:
    return max(0.0, 0.95 - 0.03 * size - (0.2 + 0.15 * size) * share**2)


def _budget(model: str, size: float, cases: Sequence[str], structures: Sequence[str]) -> Iterator[Sequence[object]]:
    for epoch in (10, 50, 100, 250):
        for case in cases:
            for structure in structures:
                for metric in ("dice", "iou"):
                    value = round(1 - 0.9 / (1 + epoch / 10 / size), 4)
                    yield DATASET, model, 0, 0, epoch, case, structure, metric, repr(value)
    for epoch in range(1, 251):
        estimate = round(1 - 0.95 / (1 + epoch / 12 / size), 4)
        yield DATASET, model, 0, 0, epoch, "", "all structures", "pseudo_dice", repr(estimate)


def _costs(model: str, size: float) -> list[tuple[str, str, object, str, str]]:
    return [
        (model, "parameters", int(17_000_000 * size), "", ""),
        (model, "gmac", 410.5 * size, "GMAC", "patch of 12 x 512 x 512"),
        (model, "counted_training_memory_gb", 7.25 * size, "GB", ""),
        (model, "measured_training_memory_gb", "", "GB", "no GPU"),
        (model, "iteration_seconds", 0.125 * size, "s", ""),
        (model, "training_hours", 9.5 * size, "h", "from the logs"),
        (model, "inference_seconds_per_case", "", "s", "no GPU"),
    ]


# --- with images -----------------------------------------------------------------------------------------------------


def write_full_comparison(folder: Path, *, cases: int = 20, size: int = 192, processes: int = 2) -> Path:
    """Write a comparison on synthetic spines: images, predictions of `MODELS` (bent references), measured metrics."""
    raw = folder / "raw"
    write_phantom(raw, cases=cases, test_cases=0, size=size, slices=12, processes=processes)
    dataset = folder / DATASET
    labels = {"background": 0, **{name: i + 1 for i, name in enumerate(NAMES_003)}}
    (dataset / "labelsTr").mkdir(parents=True, exist_ok=True)
    (dataset / "imagesTr").mkdir(exist_ok=True)
    (dataset / "dataset.json").write_text(
        json.dumps({"labels": labels, "description": "A phantom", "file_ending": ".nii.gz"})
    )
    named = []
    for i, image in enumerate(sorted((raw / "train" / "MR").iterdir())):
        case = image.name.removesuffix(".nii.gz")
        named.append(case)
        reference = read_image(raw / "train" / "Mask" / f"mask_{case.lower()}.nii.gz")
        grid, truth = Grid.of(reference), voxels(reference).astype(np.uint8)
        write_image(read_image(image), dataset / "imagesTr" / f"{case}_0000.nii.gz")
        write_image(grid.place(truth), dataset / "labelsTr" / f"{case}.nii.gz")
        for m, (model, off) in enumerate(MODELS.items()):
            rng = np.random.default_rng([i, m])
            bent = _bent(truth, off * rng.uniform(0.5, 1.6), rng)
            bent = _renamed(bent) if (i, m) in {(3, 1), (7, 3), (11, 3)} else bent
            write_image(grid.place(bent), _predictions(folder, model, i % FOLDS) / f"{case}.nii.gz")
    _measure(folder, dataset, labels, named, processes=processes)
    write_more_tables(folder, MODELS, named[:6], NAMES_003[:6])
    notes = ["The baseline nnUNetResEncUNetMPlans was left out (--no-baseline)."]
    (folder / "comparison.json").write_text(json.dumps({"notes": notes, "baseline": BASELINE}))
    return folder


def _predictions(folder: Path, model: str, fold: int) -> Path:
    trainer = "nnUNet" if model == BASELINE else model.split("__")[0].split()[0].removesuffix("Trainer")
    trained = folder / "nnUNet_results" / DATASET / f"{trainer}Trainer__nnUNetPlans__3d_fullres"
    (trained / f"fold_{fold}" / "validation").mkdir(parents=True, exist_ok=True)
    return trained / f"fold_{fold}" / "validation"


def _measure(folder: Path, dataset: Path, labels: Mapping[str, Any], named: Sequence[str], *, processes: int) -> None:
    """Evaluate every fold of every model, and join the tables as a comparison does."""
    tables = []
    for model in MODELS:
        for fold in range(FOLDS):
            tables.append(
                evaluate_folder(
                    _predictions(folder, model, fold),
                    dataset / "labelsTr",
                    labels=labels,
                    model=model,
                    output=folder / "metrics" / f"{len(tables):02}.csv",
                    processes=processes,
                    images=dataset / "imagesTr",
                    cases=[case for i, case in enumerate(named) if i % FOLDS == fold],
                )
            )
    _join(tables, folder / "metrics.csv")
    _join([confusion_path(table) for table in tables], folder / "confusion.csv")


def _join(tables: Sequence[Path], target: Path) -> None:
    lines = [table.read_text(encoding="utf-8").splitlines(keepends=True) for table in tables]
    target.write_text("".join([lines[0][0], *(line for table in lines for line in table[1:])]), encoding="utf-8")


def _bent(labels: NDArray[np.uint8], off_voxels: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return labels moved by a smooth random field, the same in all slices."""
    fields = [gaussian_filter(rng.normal(size=labels.shape[1:]), 6) for _ in range(2)]
    moved = [field / field.std() * off_voxels for field in fields]
    rows, columns = np.indices(labels.shape[1:])
    at = np.array([rows + moved[0], columns + moved[1]])
    return np.stack([map_coordinates(slice_, at, order=0) for slice_ in labels])


def _renamed(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return labels in which every vertebra from L5 up, and every disc, bears the name of the next one above."""
    table = np.arange(256, dtype=np.uint8)
    table[2:10] += 1
    table[11:19] += 1
    return table[labels]


if __name__ == "__main__":
    write_full_comparison(Path(sys.argv[1]))
