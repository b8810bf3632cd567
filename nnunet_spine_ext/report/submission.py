"""Writes a submission of the MRSpineSeg challenge from a folder of predictions, checked before it is in place.

Layout and rules: specs of the challenge (`segmentation_results/seg_caseN.nii.gz`, uint8, ids 0..19, the published
image's size and header, one zip). Predictions of cropped images are put back exactly.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from nnunet_spine_ext.data.files import whole_file
from nnunet_spine_ext.data.geometry import Grid, read_image, voxels, write_image
from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.report.submission_check import check_submission, result_name
from nnunet_spine_ext.report.submission_source import (
    FILE_ENDING,
    SourceImage,
    case_number,
    label_findings,
    nifti_files,
    place_on_source,
    read_source,
)

__all__ = ["check_submission", "write_submission"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: with it, equal maps give equal zips."""


def write_submission(predictions: Path, reference: Path, output: Path) -> Path:
    """Write the challenge's zip; the same predictions give the same bytes.

    Args:
        predictions: folder of label maps named by case (Case002.nii.gz), one for every image of the test set and no
            other. A map lies on its published image, or on the box that the conversion cut out of it.
        reference: the test set (see `submission_source.read_source`).
        output: the zip to write; one that is there is replaced.

    Returns:
        `output`.

    Raises:
        DataError: with all findings; nothing is written then.
    """
    if output.suffix != ".zip":
        raise DataError.of(output, "does not end in .zip", "Name the zip after your team: team.zip.")
    source = read_source(reference)
    files, findings = _match(predictions, source)
    findings += _scheme_findings(predictions / "dataset.json")
    with tempfile.TemporaryDirectory(prefix="submission") as scratch:
        maps = {}
        for number, file in tqdm(sorted(files.items()), desc="Submission"):
            maps[number] = Path(scratch) / f"{number}{FILE_ENDING}"
            findings += _restore(file, source[number], maps[number])
        if findings:
            raise DataError(findings)
        _write_checked(maps, reference, output)
    return output


def _match(predictions: Path, source: Mapping[int, SourceImage]) -> tuple[dict[int, Path], list[Finding]]:
    """Return the prediction of each image, and what has no partner."""
    files: dict[int, Path] = {}
    findings = []
    for file in nifti_files(predictions):
        number = case_number(file.name.removesuffix(FILE_ENDING))
        if number is None or number not in source:
            remedy = "Predictions carry the name of their image: predict again, or move this file away."
            findings.append(Finding(file=file, finding="answers no image of the test set", remedy=remedy))
        elif number in files:
            remedy = "Keep one of them."
            findings.append(Finding(file=file, finding=f"case {number} is also {files[number].name}", remedy=remedy))
        else:
            files[number] = file
    for number in sorted(source.keys() - files.keys()):
        file = source[number].file
        findings.append(Finding(file=file, finding=f"has no prediction in {predictions}", remedy="Predict it too."))
    return files, findings


def _scheme_findings(description: Path) -> list[Finding]:
    """Return why the labels of a prediction folder are not the challenge's, as far as its dataset.json tells.

    nnU-Net copies the dataset's dataset.json into the folder that it predicts into.
    """
    if not description.is_file():
        return []
    remedy = "Predict with a model of the challenge's ids (`convert mrspineseg --labels all`)."
    try:
        labels = json.loads(description.read_text())["labels"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return [Finding(file=description, finding="is not a dataset.json of nnU-Net", remedy=remedy)]
    legal = {"background": 0, **{name: i for i, name in enumerate(MRSPINESEG_STRUCTURES, start=1)}}
    wrong = [f"{name}: {value}" for name, value in labels if legal.get(name) != value]
    if not wrong:
        return []
    finding = f"its labels are not the challenge's ({', '.join(wrong[:5])}{' …' if len(wrong) > 5 else ''})"
    return [Finding(file=description, finding=finding, remedy=remedy)]


def _restore(file: Path, source: SourceImage, target: Path) -> list[Finding]:
    """Write the map as the challenge wants it, or return why that cannot be done."""
    try:
        labels = read_image(file)
    except DataError as error:
        return list(error.findings)
    findings = label_findings(labels, file)
    if findings:
        return findings
    try:
        placed = place_on_source(labels, source)
    except ValueError as error:
        finding = f"does not lie on {source.file.name} or on a box of it ({error})"
        return [Finding(file=file, finding=finding, remedy="Predict again from the images of this test set.")]
    write_image(_as_uint8(placed), target)
    return []


def _as_uint8(labels: sitk.Image) -> sitk.Image:
    return Grid.of(labels).place(voxels(labels).astype(np.uint8))


def _write_checked(maps: Mapping[int, Path], reference: Path, output: Path) -> None:
    """Write the zip beside its place, check it as anybody's zip is checked, and only then move it there."""
    with whole_file(output) as partial:
        with zipfile.ZipFile(partial, "w") as archive:
            for number, file in sorted(maps.items()):
                member = zipfile.ZipInfo(result_name(number), date_time=_EPOCH)
                member.external_attr = 0o644 << 16
                archive.writestr(member, file.read_bytes())
        findings = check_submission(partial, reference)
        assert not findings, findings
