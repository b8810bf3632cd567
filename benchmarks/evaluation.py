"""Seconds and peak memory per case of our evaluation, beside MONAI's metrics and nnU-Net's own, on the same files.

    python benchmarks/evaluation.py [--rounds 5] [--monai-rounds 1] [--scratch FOLDER]  >  benchmarks/evaluation.md

Two phantom cases of the challenge's size with all 19 structures. The prediction of one is its reference moved by two
rows and three columns, that of the other its reference with the outermost voxels of every slice's structures off.

Each measurement is a process of its own with one thread, which reads the two files of one case and evaluates them;
its start and its imports are not counted. The ways take turns within every round. Needs MONAI besides the package.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES

SEEDS = (8, 33)
"""The first phantom case of each has all 19 structures."""
LABELS = {name: i for i, name in enumerate(MRSPINESEG_STRUCTURES, start=1)}
TOLERANCE_MM = 1.0
MB = 2**20
_KB = 2**10

Values = dict[str, float]
"""`<metric> <id>` → value"""
Evaluate = Callable[[Path, Path], Values]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to evaluate a case: `load` imports what it needs, and returns the function to measure."""

    name: str
    does: str
    load: Callable[[], Evaluate]
    seldom: bool = False


def _ours(*, distances: bool) -> Evaluate:
    from nnunet_spine_ext.evaluation.case import measure
    from nnunet_spine_ext.evaluation.options import Options
    from nnunet_spine_ext.evaluation.pairs import Pair
    from nnunet_spine_ext.evaluation.structures import Structures

    structures, options = Structures.of(LABELS), Options(distances=distances, tolerance_mm=TOLERANCE_MM)
    names = {"dice": "Dice", "hd95_voxel_mm": "HD95", "assd_voxel_mm": "ASSD", "nsd_voxel_1mm": "NSD"}

    def evaluate(reference: Path, prediction: Path) -> Values:
        rows = measure(Pair(case="case", reference=reference, prediction=prediction), structures, options).rows
        return {f"{names[m]} {LABELS[label]}": v for label, m, v in rows if m in names and label in LABELS}

    return evaluate


def _nnunet() -> Evaluate:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    def evaluate(reference: Path, prediction: Path) -> Values:
        found = compute_metrics(str(reference), str(prediction), SimpleITKIO(), list(LABELS.values()))
        return {f"Dice {i}": values["Dice"] for i, values in found["metrics"].items()}

    return evaluate


def _monai() -> Evaluate:
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    torch.set_num_threads(1)

    def evaluate(reference: Path, prediction: Path) -> Values:
        truth, predicted, spacing = _read(reference, prediction)
        values: Values = {}
        for i in LABELS.values():
            # Label by label: one-hot, as MONAI's users do it, needs some GB more.
            pair: dict[str, Any] = {
                "y_pred": torch.from_numpy(predicted == i)[None, None].float(),
                "y": torch.from_numpy(truth == i)[None, None].float(),
                "include_background": True,
            }
            found = {
                "Dice": compute_dice(**pair),
                "HD95": compute_hausdorff_distance(**pair, spacing=spacing, percentile=95),
                "ASSD": compute_average_surface_distance(**pair, spacing=spacing, symmetric=True),
                "NSD": compute_surface_dice(**pair, spacing=spacing, class_thresholds=[TOLERANCE_MM]),
            }
            values |= {f"{name} {i}": float(value) for name, value in found.items()}
        return values

    return evaluate


def _surface_distance() -> Evaluate:
    import surface_distance

    def evaluate(reference: Path, prediction: Path) -> Values:
        truth, predicted, spacing = _read(reference, prediction)
        for i in LABELS.values():
            found = surface_distance.compute_surface_distances(truth == i, predicted == i, spacing)
            surface_distance.compute_robust_hausdorff(found, 95)
            surface_distance.compute_average_surface_distance(found)
            surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)
        return {}

    return evaluate


def _read(reference: Path, prediction: Path) -> tuple[Any, Any, tuple[float, ...]]:
    import SimpleITK as sitk

    images = [sitk.ReadImage(str(path)) for path in (reference, prediction)]
    truth, predicted = (sitk.GetArrayFromImage(image) for image in images)
    return truth, predicted, images[0].GetSpacing()[::-1]


WAYS = {
    "ours": Way(
        name="`nnunet_spine evaluate`",
        does="everything: overlap, HD95, ASSD and NSD in both definitions, levels, confusions",
        load=lambda: _ours(distances=True),
    ),
    "ours_overlap": Way(
        name="`nnunet_spine evaluate --no-distances`",
        does="overlap, levels, confusions",
        load=lambda: _ours(distances=False),
    ),
    "nnunet": Way(name="nnU-Net's `compute_metrics`", does="Dice, IoU and counts of voxels", load=_nnunet),
    "surface_distance": Way(
        name="surface-distance, label by label",
        does="HD95, ASSD and NSD of surfels",
        load=_surface_distance,
    ),
    "monai": Way(name="MONAI, label by label", does="Dice, and HD95, ASSD and NSD of voxels", load=_monai, seldom=True),
}


def make_cases(scratch: Path, *, size: int, slices: int) -> list[tuple[Path, Path]]:
    """Render the references and derive their predictions; return (reference, prediction) of each."""
    import numpy as np
    import SimpleITK as sitk
    from scipy import ndimage

    from nnunet_spine_ext.data.geometry import Grid, read_image, voxels, write_image
    from nnunet_spine_ext.data.phantom import write_phantom

    cross = np.zeros((3, 3, 3), bool)
    cross[1] = ndimage.generate_binary_structure(2, 1)
    pairs: list[tuple[Path, Path]] = []
    for seed in SEEDS:
        folder = scratch / f"phantom_{seed}"
        write_phantom(folder, cases=1, test_cases=0, size=size, slices=slices, seed=seed)
        (reference,) = (folder / "train/Mask").iterdir()
        image = read_image(reference)
        labels = voxels(image)
        if len(np.unique(labels)) != len(LABELS) + 1:
            raise SystemExit(f"The phantom of seed {seed} has not all structures.")
        if not pairs:
            changed = np.roll(labels, (2, 3), axis=(1, 2))
        else:
            inner = [ndimage.binary_erosion(labels == i, cross) for i in LABELS.values()]
            changed = np.where(np.any(inner, axis=0), labels, 0)
        prediction = folder / "prediction.nii.gz"
        write_image(sitk.Cast(Grid.of(image).place(changed), sitk.sitkUInt8), prediction)
        pairs.append((reference, prediction))
    return pairs


def measure_here(key: str, reference: Path, prediction: Path) -> None:
    """Be the process that is measured: print what it took, and what it found."""
    warnings.simplefilter("ignore")
    evaluate = WAYS[key].load()
    before = peak_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    values = evaluate(reference, prediction)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": peak_bytes()}
    print(json.dumps({**took, "before": before, "values": values}))


def peak_bytes() -> int:
    """Return the most resident memory that this program has had (Linux)."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * _KB


def measure(key: str, pair: tuple[Path, Path]) -> dict[str, Any]:
    """Run one way once, in a process of its own."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    threads = {**one_thread, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", key, *map(str, pair)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{key} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{key}: {found['wall']:.2f} s, {found['cpu']:.2f} s of CPU", file=sys.stderr, flush=True)
    return found


def row(way: Way, runs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> str:
    """Return a line of the table."""
    wall, cpu = ([run[kind] for run in runs] for kind in ("wall", "cpu"))
    ratio = statistics.median(cpu) / statistics.median(run["cpu"] for run in ours)
    peak = statistics.median(run["peak"] for run in runs) / MB
    own = statistics.median(run["peak"] - run["before"] for run in runs) / MB
    seconds = f"{statistics.median(cpu):.2f} | {min(cpu):.2f} to {max(cpu):.2f} | {statistics.median(wall):.2f}"
    return f"| {way.name} | {way.does} | {len(runs)} | {seconds} | {ratio:.2f} | {peak:.0f} | {own:.0f} |"


def agreement(values: dict[tuple[str, int], Values], other: str) -> str:
    """Return by how much another way's values differ from ours at most, by metric."""
    most: dict[str, float] = {}
    for (key, case), theirs in values.items():
        for name, value in theirs.items() if key == other else ():
            metric, ours = name.split()[0], values["ours", case][name]
            most[metric] = max(most.get(metric, 0.0), abs(value - ours))
    return ", ".join(f"{metric} {difference:.0e}" for metric, difference in most.items())


def report(pairs: Sequence[tuple[Path, Path]], *, rounds: int, monai_rounds: int) -> None:
    """Measure all ways in turn and print the table."""
    runs: dict[str, list[dict[str, Any]]] = {key: [] for key in WAYS}
    values: dict[tuple[str, int], Values] = {}
    load = [os.getloadavg()[0]]
    for done in range(rounds):
        for case, pair in enumerate(pairs):
            for key, way in WAYS.items():
                if done < monai_rounds or not way.seldom:
                    runs[key].append(measure(key, pair))
                    values[key, case] = runs[key][-1]["values"]
        load.append(os.getloadavg()[0])
    print(
        "\n| way | what it computes | runs | CPU seconds a case, median | all runs | wall seconds, median | "
        "CPU against ours | peak memory MB | of that, beyond imports |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for key, way in WAYS.items():
        print(row(way, runs[key], runs["ours"]))
    print(
        f"\nLargest differences from ours over all cases and structures: nnU-Net {agreement(values, 'nnunet')}; ",
        end="",
    )
    print(f"MONAI {agreement(values, 'monai')} (distances in mm; MONAI's, and its percentiles, are float32).")
    print(f"\nLoad average before, and after each round: {', '.join(f'{value:.1f}' for value in load)}.", end=" ")


def main() -> None:
    """Print the table, or be what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--monai-rounds", type=int, default=1, help="MONAI takes long: only in the first rounds")
    parser.add_argument("--size", type=int, default=880)
    parser.add_argument("--slices", type=int, default=15)
    parser.add_argument("--scratch", type=Path, help="keep the phantoms here")
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "REFERENCE", "PREDICTION"), help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.measure:
        key, reference, prediction = settings.measure
        measure_here(key, Path(reference), Path(prediction))
        return
    print("# Evaluation of a case of the challenge's size\n")
    print(f"    python benchmarks/evaluation.py --rounds {settings.rounds} --monai-rounds {settings.monai_rounds}")
    with tempfile.TemporaryDirectory() as temporary:
        pairs = make_cases(settings.scratch or Path(temporary), size=settings.size, slices=settings.slices)
        report(pairs, rounds=settings.rounds, monai_rounds=settings.monai_rounds)
    print(
        f"Two phantom cases of {settings.slices} × {settings.size} × {settings.size} voxels with {len(LABELS)} "
        "structures; one prediction is moved by two rows and three columns, one has lost its outermost voxels. Every "
        "time is of reading two .nii.gz files and evaluating them, in a process of its own with one thread, imports "
        "not counted. surface-distance gets the whole volume, and crops by itself; MONAI too. "
        f"{platform.machine()}, {os.cpu_count()} processors shared with other work: compare within the table only. "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
        + "."
    )


_PACKAGES = ("monai", "nnunetv2", "surface-distance", "numpy", "scipy", "SimpleITK", "torch")

if __name__ == "__main__":
    main()
