"""Where a training batch comes from, and what each step of nnU-Net's loading and augmentation costs on a CPU.

    python benchmarks/data_loading.py [--samples 16] [--scratch FOLDER] [--device cuda]  >  benchmarks/data_loading.md

Phantoms of the challenge's size (12 x 880 x 880) are planned and preprocessed by nnU-Net; its own trainer makes the
data loaders. Every transform is then timed sample by sample in one thread, as in nnU-Net's workers. One that nnU-Net
applies with a probability is run every time and its mean is multiplied by the probability: the rare and dear ones would
else hide in a few samples. The result goes on to the next transform with that probability, as in training.

Beside it, the same pipeline on whole batches, as `<Trainer>GPUAug` runs it: on a GPU with `--device cuda`, else in one
thread of the CPU, where no trainer uses it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from measuring import synchronize

from nnunet_spine_ext.data.phantom import write_phantom
from nnunet_spine_ext.paths import make_trainers_findable

NAME = "Dataset991_Loading"
CASES = 5
ITERATIONS = {"training": 250, "validation": 50}
"""Batches of an epoch of nnU-Net."""
REPEATS = {"SpatialTransform": 8}
"""It rotates with a chance of 0.2 and scales with one of 0.2 by itself: few samples would not show its mean."""


@dataclass(kw_only=True)
class Step:
    """One step of the pipeline: its chance and its seconds, each time it was run."""

    name: str
    probability: float = 1.0
    seconds: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Seconds when it is applied."""
        return statistics.fmean(self.seconds)

    @property
    def expected(self) -> float:
        """Seconds for a sample of training."""
        return self.probability * self.mean


def write_dataset(scratch: Path, *, size: int, slices: int) -> None:
    """Write raw cases (two spines under five names), a fingerprint, a split; set nnU-Net's variables."""
    for kind in ("raw", "preprocessed", "results"):
        (scratch / kind / NAME).mkdir(parents=True)
        os.environ[f"nnUNet_{kind}"] = str(scratch / kind)
    write_phantom(scratch / "phantom", cases=2, test_cases=0, size=size, slices=slices, processes=1)
    raw, done = scratch / "raw" / NAME, scratch / "preprocessed" / NAME
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir()
    images = sorted((scratch / "phantom/train/MR").iterdir())
    for case in range(CASES):
        image = images[case % len(images)]
        mask = scratch / "phantom/train/Mask" / f"mask_{image.name.lower()}"
        shutil.copyfile(image, raw / "imagesTr" / f"c{case}_0000.nii.gz")
        shutil.copyfile(mask, raw / "labelsTr" / f"c{case}.nii.gz")
    labels = {"background": 0, **{f"structure{i}": i for i in range(1, 20)}}
    facts = {"channel_names": {"0": "MR"}, "labels": labels, "numTraining": CASES, "file_ending": ".nii.gz"}
    spacing = list(sitk.ReadImage(str(images[0])).GetSpacing()[::-1])
    keys = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")
    fingerprint = {
        "spacings": [spacing] * CASES,
        "shapes_after_crop": [[slices, size, size]] * CASES,
        "foreground_intensity_properties_per_channel": {"0": dict.fromkeys(keys, 1.0)},
        "median_relative_size_after_cropping": 1.0,
    }
    split = [{"train": [f"c{i}" for i in range(CASES - 1)], "val": [f"c{CASES - 1}"]}]
    (raw / "dataset.json").write_text(json.dumps(facts))
    (done / "dataset.json").write_text(json.dumps(facts))
    (done / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    (done / "splits_final.json").write_text(json.dumps(split))


def plan() -> dict[str, Any]:
    """Let nnU-Net's default planner make its plans."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    os.environ["nnUNet_n_proc_DA"] = "1"  # the planner gives it to torch as a number of threads  # noqa: SIM112
    ExperimentPlanner(NAME).plan_experiment()
    os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112
    file = Path(os.environ["nnUNet_preprocessed"]) / NAME / "nnUNetPlans.json"  # noqa: SIM112
    plans: dict[str, Any] = json.loads(file.read_text())
    return plans


def preprocess(plans: dict[str, Any], configuration: str) -> None:
    """Preprocess two cases with nnU-Net's own preprocessor; the others are the same."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    chosen = manager.get_configuration(configuration)
    raw, done = (Path(os.environ[f"nnUNet_{kind}"]) / NAME for kind in ("raw", "preprocessed"))
    target = done / chosen.data_identifier
    target.mkdir()
    facts = json.loads((raw / "dataset.json").read_text())
    for case in range(CASES):
        if case >= 2:
            for file in target.glob(f"c{case % 2}*"):
                os.link(file, target / file.name.replace(f"c{case % 2}", f"c{case}", 1))
            continue
        files = [str(raw / "imagesTr" / f"c{case}_0000.nii.gz")], str(raw / "labelsTr" / f"c{case}.nii.gz")
        DefaultPreprocessor(verbose=False).run_case_save(str(target / f"c{case}"), *files, manager, chosen, facts)


def transforms_of(trainer: type, plans: dict[str, Any], configuration: str) -> tuple[Any, Any]:
    """Return a trainer's loaders of training and validation, without worker processes."""
    import torch

    facts = json.loads((Path(os.environ["nnUNet_preprocessed"]) / NAME / "dataset.json").read_text())  # noqa: SIM112
    with contextlib.redirect_stdout(sys.stderr):  # nnU-Net talks on the way
        made = trainer({**plans, "continue_training": False}, configuration, 0, facts, torch.device("cpu"))
        made._set_batch_size_and_oversample()  # as its initialize() does, without the network
        training, validation = made.get_dataloaders()
    return training.data_loader, validation.data_loader


def profile(loader: Any, *, samples: int) -> list[Step]:  # noqa: ANN401
    """Time every step for as many samples."""
    import torch
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    pipeline, loader.transforms = list(loader.transforms.transforms), None
    steps = [Step(name="read and crop (blosc2)"), *(step_of(transform) for transform in pipeline)]
    warm_up = -(-4 // loader.batch_size)  # GaussianBlurTransform tries its two ways out on new sizes of its kernel
    for number in range(warm_up + -(-samples // loader.batch_size)):
        if number == warm_up:
            for step in steps:
                step.seconds.clear()
        batch = timed(loader.generate_train_batch, steps[0], share=loader.batch_size)
        for image, segmentation in zip(batch["data"], batch["target"], strict=True):
            sample = {"image": image, "segmentation": segmentation}
            for step, transform in zip(steps[1:], pipeline, strict=True):
                inner = transform.transform if isinstance(transform, RandomTransform) else transform
                for _ in range(REPEATS.get(step.name, 1)):
                    given = deepcopy(sample)
                    result = timed(lambda inner=inner, given=given: inner(**given), step)
                if torch.rand(1).item() < step.probability:
                    sample = result
    return steps


def step_of(transform: Any) -> Step:  # noqa: ANN401
    """Return the step's name and chance."""
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    if isinstance(transform, RandomTransform):
        inner = transform.transform
        inverted = " (inverted)" if getattr(inner, "p_invert_image", 0) else ""
        return Step(name=type(inner).__name__ + inverted, probability=transform.apply_probability)
    return Step(name=type(transform).__name__)


def timed(work: Callable[[], Any], step: Step, *, share: int = 1) -> Any:  # noqa: ANN401
    """Run something; note its processor seconds, divided among `share` samples."""
    start = time.process_time()
    result = work()
    step.seconds.append((time.process_time() - start) / share)
    return result


def batch_seconds(loader: Any, pipeline: Any, *, batches: int, device: str) -> list[float]:  # noqa: ANN401
    """Return the seconds that each of some batches takes in its form for batches, the way to the device included."""
    import torch

    from nnunet_spine_ext.training.gpu_augmentation.pipeline import BatchPipeline

    on_batches, where = BatchPipeline(pipeline), torch.device(device)
    batch = loader.generate_train_batch()  # its transforms are gone: as read and cropped
    seconds: list[float] = []
    for _ in range(3 + batches):
        synchronize(device)
        start = time.perf_counter()
        on_batches(batch, where)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[3:]


def report(plans: dict[str, Any], configuration: str, *, samples: int, device: str) -> None:
    """Print the table of a configuration."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    loader, validation = transforms_of(nnUNetTrainer, plans, configuration)
    with contextlib.redirect_stdout(sys.stderr):
        baseline = recursive_find_trainer_class_by_name("SpineBaselineTrainer")
    ours, _ = transforms_of(baseline, plans, configuration)
    same = [words(t) for t in loader.transforms.transforms] == [words(t) for t in ours.transforms.transforms]
    if not same:
        raise SystemExit("Our trainer's transforms are not nnU-Net's.")
    pipeline = loader.transforms
    batch, patch = loader.batch_size, " x ".join(str(n) for n in plans["configurations"][configuration]["patch_size"])
    steps, check = profile(loader, samples=samples), profile(validation, samples=max(4, samples // 4))
    total = sum(step.expected for step in steps)
    print(f"\n## {configuration}: patch {patch}, batches of {batch}\n")
    print("| step | chance | ms when applied | ms in a batch | share |")
    print("|---|---:|---:|---:|---:|")
    for step in steps:
        cost = 1000 * batch * step.expected
        share = f"{100 * step.expected / total:.0f} %"
        print(f"| {step.name} | {step.probability:g} | {1000 * step.mean:.1f} | {cost:.1f} | {share} |")
    print(f"| all | | | {1000 * batch * total:.0f} | |")
    epoch = batch * (ITERATIONS["training"] * total + ITERATIONS["validation"] * sum(step.expected for step in check))
    print(
        f"\nAn epoch of {ITERATIONS['training']} training and {ITERATIONS['validation']} validation batches takes "
        f"{epoch:.0f} processor seconds of loading; with w workers that keep up, {epoch:.0f} / w seconds."
    )
    seconds = batch_seconds(loader, pipeline, batches=max(20, 2 * samples), device=device)
    where, left = "the GPU" if device == "cuda" else "one thread of the CPU", 1000 * batch * steps[0].expected
    mean, least, most = (1000 * f(seconds) for f in (statistics.fmean, min, max))
    print(
        f"\nIn its form for batches (`<Trainer>GPUAug`), on {where}: {mean:.0f} ms a batch on average ({least:.0f} to "
        f"{most:.0f}: most windows are not turned, some are); {left:.0f} ms of reading and cropping stay with the "
        "workers.",
        flush=True,
    )


def words(transform: Any) -> str:  # noqa: ANN401
    """Return a transform and its settings in words."""
    inner = getattr(transform, "transform", None)
    settings = {k: v for k, v in vars(transform).items() if isinstance(v, (int, float, str, tuple, list, type(None)))}
    return f"{type(transform).__name__} {settings} {words(inner) if inner is not None else ''}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--size", type=int, default=880)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--scratch", type=Path, help="write here")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where batches are augmented")
    settings = parser.parse_args()
    os.environ |= {"nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}
    make_trainers_findable()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=settings.scratch) as temporary:
        write_dataset(Path(temporary), size=settings.size, slices=settings.slices)
        import torch  # after nnU-Net's variables are set

        torch.set_num_threads(1)
        torch.manual_seed(0)
        np.random.seed(0)
        with contextlib.redirect_stdout(sys.stderr):
            plans = plan()
            for configuration in ("3d_fullres", "2d"):
                preprocess(plans, configuration)
        print("# Loading and augmentation of nnU-Net's training batches, transform by transform")
        for configuration in ("3d_fullres", "2d"):
            report(plans, configuration, samples=settings.samples, device=settings.device)
        print(
            f"\nMade by `python benchmarks/data_loading.py --samples {settings.samples}`; phantoms of "
            f"{settings.slices} x {settings.size} x {settings.size} voxels, planned by nnU-Net's default planner; one "
            "thread, processor seconds, files in the page cache. `SpineBaselineTrainer` uses the same transforms with "
            "the same settings (compared here before anything is timed); so do, by inheritance, our trainers that "
            "change the network alone. Where labels are ordered vertebrae, mirroring leaves out one axis, which costs "
            f"less if anything. {platform.machine()}, {os.cpu_count()} processors shared with other work, load average "
            f"{load:.1f} to {os.getloadavg()[0]:.1f}. torch {torch.__version__}, numpy {np.__version__}."
        )


if __name__ == "__main__":
    main()
