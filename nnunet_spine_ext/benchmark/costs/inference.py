"""Seconds and peak memory of predicting a case with a trained model, in a process of its own.

One case after the other, from the image file to the label map on disk: reading, preprocessing, the sliding window with
nnU-Net's mirroring, resampling back, writing. nnUNetv2_predict overlaps these for several cases; per case it is
therefore faster where there are many, and takes more memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nnunet_spine_ext.benchmark.costs.process import (
    NotMeasuredError,
    answer_question,
    measured_apart,
    peak_resident_bytes,
    start_as_nnunet,
)
from nnunet_spine_ext.benchmark.jobs.state import FINAL
from nnunet_spine_ext.data.files import read_json
from nnunet_spine_ext.data.splits_file import SPLITS_FILE, read_validation_cases
from nnunet_spine_ext.networks.plans_file import previous_stage
from nnunet_spine_ext.paths import make_trainers_findable


@dataclass(frozen=True, kw_only=True)
class TrainedFold:
    """A finished fold of a model, and cases to predict with it."""

    model: Path
    """nnU-Net's folder of the model, with plans.json and dataset.json."""
    fold: str
    """A number, or "all"."""
    images: tuple[tuple[Path, ...], ...]
    """For each case the files of its channels."""
    previous_stage: tuple[Path, ...] = ()
    """For a cascade: each case's label map of the stage before."""


@dataclass(frozen=True, kw_only=True)
class PredictionCost:
    """What was measured."""

    seconds: tuple[float, ...]
    """For each case."""
    cases: tuple[str, ...]
    """File names."""
    peak_bytes: int | None
    """The most main memory of the process; None where the system does not say."""
    gpu_peak_bytes: int | None
    """The most that torch had asked the GPU for; None on a CPU."""
    mirroring_axes: tuple[int, ...]
    fold: str


def predict_and_measure(fold: TrainedFold, *, device: str, timeout_seconds: float | None = 3600) -> PredictionCost:
    """Predict the cases of a fold in a process of its own; what it writes is removed.

    Raises:
        NotMeasuredError: with the reason.
    """
    question = {
        "model": str(fold.model),
        "fold": fold.fold,
        "images": [[str(channel) for channel in case] for case in fold.images],
        "previous_stage": [str(file) for file in fold.previous_stage],
        "device": device,
    }
    answer = measured_apart(__name__, question, timeout_seconds=timeout_seconds)
    return PredictionCost(
        seconds=tuple(answer["seconds"]),
        cases=tuple(answer["cases"]),
        peak_bytes=answer["peak_bytes"],
        gpu_peak_bytes=answer["gpu_peak_bytes"],
        mirroring_axes=tuple(answer["mirroring_axes"]),
        fold=answer["fold"],
    )


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    make_trainers_findable()
    start_as_nnunet(question["device"])
    on_gpu = question["device"] == "cuda"
    predictor = nnUNetPredictor(device=torch.device(question["device"]), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(question["model"], [question["fold"]], FINAL)
    images, before = question["images"], question["previous_stage"] or [None] * len(question["images"])
    if on_gpu:  # the compiler and the choice of algorithms belong to no case
        _predict(predictor, images[0], before[0])
    seconds = [_predict(predictor, case, previous) for case, previous in zip(images, before, strict=True)]
    cost = PredictionCost(
        seconds=tuple(seconds),
        cases=tuple(Path(case[0]).name for case in images),
        peak_bytes=peak_resident_bytes(),
        gpu_peak_bytes=torch.cuda.max_memory_reserved() if on_gpu else None,
        mirroring_axes=tuple(predictor.allowed_mirroring_axes or ()),
        fold=question["fold"],
    )
    return asdict(cost)


def _predict(predictor: Any, channels: Sequence[str], previous_stage: str | None) -> float:  # noqa: ANN401
    """Predict one case; return the seconds it took."""
    with TemporaryDirectory(prefix="nnunet_spine_costs_") as folder:
        start = time.perf_counter()
        predictor.predict_from_files_sequential(
            [list(channels)],
            [str(Path(folder) / "case")],
            folder_with_segs_from_prev_stage=previous_stage and str(Path(previous_stage).parent),
        )
        return time.perf_counter() - start


def find_trained_fold(model: Path, *, preprocessed: Path, raw: Path, cases: int) -> TrainedFold:
    """Return the first finished fold of a model, with up to `cases` of its validation cases.

    Args:
        model: nnU-Net's folder of the model.
        preprocessed: `nnUNet_preprocessed/Dataset…`, where the splits are.
        raw: `nnUNet_raw/Dataset…`, where the images are.
        cases: how many.

    Raises:
        NotMeasuredError: no fold is finished, or its images are not there.
        SpineExtError: the folds or the model's plans cannot be read.
    """
    finished = sorted(path.parent for path in model.glob(f"fold_*/{FINAL}"))
    if not finished:
        raise NotMeasuredError("no fold is trained to the end")
    fold = finished[0]
    number = fold.name.removeprefix("fold_")
    images = _images(raw)
    names = [name for name in _validation_cases(number, preprocessed, sorted(images)) if name in images][:cases]
    if not names:
        raise NotMeasuredError(f"no image of a validation case of fold {number} is in {raw.name}/imagesTr")
    return TrainedFold(
        model=model,
        fold=number,
        images=tuple(tuple(images[name]) for name in names),
        previous_stage=_labels_before(fold, names),
    )


def _images(raw: Path) -> dict[str, list[Path]]:
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    if not (raw / "dataset.json").is_file():
        return {}
    found = get_filenames_of_train_images_and_targets(str(raw))
    cases = {name: [Path(file) for file in case["images"]] for name, case in found.items()}
    return {name: files for name, files in cases.items() if all(file.is_file() for file in files)}


def _validation_cases(fold: str, preprocessed: Path, everything: list[str]) -> list[str]:
    file = preprocessed / SPLITS_FILE
    if fold == "all" or not file.is_file():
        return everything
    cases = read_validation_cases(file)
    return cases[int(fold)] if int(fold) < len(cases) else everything


def _labels_before(fold: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the previous stage's validation label maps of these cases; none for a model that is no cascade."""
    trainer, plans, configuration = fold.parent.name.split("__")
    previous = previous_stage(fold.parent / "plans.json", configuration)
    if previous is None:
        return ()
    ending = read_json(fold.parent / "dataset.json")["file_ending"]
    folder = fold.parent.parent / f"{trainer}__{plans}__{previous}" / fold.name / "validation"
    files = tuple(folder / f"{name}{ending}" for name in names)
    if not all(file.is_file() for file in files):
        raise NotMeasuredError(f"the label maps of the previous stage are not in {previous}/{fold.name}/validation")
    return files


if __name__ == "__main__":
    answer_question(_answer)
