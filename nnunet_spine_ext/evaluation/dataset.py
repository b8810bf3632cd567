"""Evaluate the predictions of one of nnU-Net's datasets, found by its id."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from nnunet_spine_ext.data.files import read_json
from nnunet_spine_ext.data.splits_file import SPLITS_FILE, read_validation_cases
from nnunet_spine_ext.errors import DataError, SetupError
from nnunet_spine_ext.evaluation.cases import evaluate_folder
from nnunet_spine_ext.evaluation.metrics import DEFAULT_TOLERANCE_MM
from nnunet_spine_ext.evaluation.pairs import cases_in
from nnunet_spine_ext.evaluation.sources import fold_of
from nnunet_spine_ext.paths import dataset_folder, nnunet_folder


def evaluate_dataset(
    dataset_id: int,
    predictions: Path,
    references: Path | None = None,
    *,
    output: Path,
    model: str | None = None,
    fold: str = "",
    seed: str = "",
    processes: int = 2,
    subset: bool = False,
    slices_above: int | None = None,
    distances: bool = True,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
) -> Path:
    """Measure predictions against the references of a dataset in `nnUNet_raw`; see `evaluate_folder`.

    Which cases must have been predicted: of a fold's validation folder those that `splits_final.json` names, of
    `labelsTs` and of a folder named by `references` all, of `labelsTr` otherwise those that were predicted.

    Args:
        dataset_id: the number in the dataset's name.
        predictions: a folder that `nnUNetv2_predict` wrote, or a fold's `validation` folder.
        references: folder of references; None takes `labelsTr` or `labelsTs`, whichever holds the predicted cases.
        output: the CSV file.
        model: the name under which the results appear; None takes `<trainer>__<plans>__<configuration>` for a
            validation folder, else the folder's name.
        fold: the fold that the predictions belong to; empty takes it from a fold's validation folder.
        seed: which of several trainings of the same model and fold; empty if there is but one.
        processes: cases measured at once.
        subset: evaluate what was predicted, even if references are left over.
        slices_above: measure slices as well, those with more reference pixels than this per 256 x 256.
        distances: measure surface distances (HD95, ASSD, NSD): most of the time a case takes.
        tolerance_mm: how far apart surfaces may be and still agree, for the NSD.

    Raises:
        SetupError: no such dataset.
        DataError: as `evaluate_folder`, or no reference has the predictions' names.
    """
    raw = dataset_folder(dataset_id)
    description = raw / "dataset.json"
    facts = read_json(description)
    if not isinstance(facts.get("labels"), dict):
        raise DataError.of(description, "has no table `labels`", "Convert the dataset again.")
    ending = str(facts.get("file_ending", ".nii.gz"))
    predicted = cases_in(predictions, file_ending=ending)
    folder = references or _references_of(predicted, raw, ending=ending, predictions=predictions)
    return evaluate_folder(
        predictions,
        folder,
        labels=facts["labels"],
        model=model or model_name(predictions),
        output=output,
        fold=fold,
        seed=seed,
        processes=processes,
        images=_images_of(folder, raw),
        dataset=raw.name,
        file_ending=ending,
        cases=predicted if subset else _expected(predictions, folder, predicted, raw),
        slices_above=slices_above,
        distances=distances,
        tolerance_mm=tolerance_mm,
    )


def model_name(predictions: Path) -> str:
    """Return `<trainer>__<plans>__<configuration>` if the folder lies in such a one, else the folder's name."""
    here = predictions.resolve()
    for folder in (here, *here.parents[:3]):
        if folder.name.count("__") == 2:
            return folder.name
    return here.name


def _references_of(predicted: Collection[str], raw: Path, *, ending: str, predictions: Path) -> Path:
    folders = [raw / name for name in ("labelsTs", "labelsTr") if (raw / name).is_dir()]
    shared = {folder: len(set(predicted) & set(cases_in(folder, file_ending=ending))) for folder in folders}
    best = max(folders, key=lambda folder: shared[folder], default=None)
    if best is None or not shared[best]:
        found = f"none of its {len(predicted)} label maps (*{ending}) has a reference in labelsTr or labelsTs of {raw}"
        raise DataError.of(predictions, found, "Check -d and -i, or name the folder of the references with -r.")
    return best


def _images_of(references: Path, raw: Path) -> Path | None:
    """Return the images that belong to `references`: imagesTr for labelsTr, imagesTs for labelsTs."""
    for folder in (references.parent, raw):
        images = folder / references.name.replace("labels", "images")
        if images.is_dir() and images != references:
            return images
    return None


def _expected(predictions: Path, references: Path, predicted: Collection[str], raw: Path) -> Collection[str] | None:
    """Return the cases that must be there; None for every reference."""
    fold = fold_of(predictions)
    if fold == "all":
        return None
    if fold.isdigit() and int(fold) < len(folds := _splits(raw)):
        return folds[int(fold)]
    return predicted if references.resolve() == (raw / "labelsTr").resolve() else None


def _splits(raw: Path) -> list[list[str]]:
    """Return the validation cases of each fold from nnU-Net's own file, or the dataset's; empty if there is neither."""
    try:
        folders = [nnunet_folder("nnUNet_preprocessed") / raw.name, raw]
    except SetupError:  # not needed for anything else here
        folders = [raw]
    for file in (folder / SPLITS_FILE for folder in folders):
        if file.is_file():
            return read_validation_cases(file)
    return []
