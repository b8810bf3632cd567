"""Checks a submission zip of the MRSpineSeg challenge, whoever made it, and tells everything that is wrong at once.

team.zip
    segmentation_results/seg_caseN.nii.gz    uint8, ids 0..19, size and header of the published image
"""

from __future__ import annotations

import re
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import Grid, read_any, require_scalar_3d
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.report.submission_source import SourceImage, label_findings, read_source

RESULTS_FOLDER = "segmentation_results"
_NAME = re.compile(r"seg_case([1-9]\d*)\.nii\.gz")
_CHUNK_BYTES = 1 << 20


def check_submission(archive: Path, reference: Path | None = None) -> list[Finding]:
    """Return everything that is wrong with a submission; empty when it can be sent.

    Args:
        archive: the zip.
        reference: the test set it answers (see `read_source`). Without it, completeness and geometry are not checked.

    Raises:
        DataError: `reference` holds no test images.
    """
    source = read_source(reference) if reference is not None else None
    try:
        with zipfile.ZipFile(archive) as opened:
            return sorted(_check_members(opened, archive, source))
    except (OSError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [Finding(file=archive, finding=f"is not a readable zip ({reason})", remedy="Write the zip again.")]


def result_name(number: int) -> str:
    """Return the path inside the zip of a case's label map."""
    return f"{RESULTS_FOLDER}/seg_case{number}.nii.gz"


def _check_members(
    opened: zipfile.ZipFile, archive: Path, source: Mapping[int, SourceImage] | None
) -> Iterator[Finding]:
    files = [member for member in opened.infolist() if not member.is_dir()]
    names = Counter(member.filename for member in files)
    numbers = {}
    for name, count in names.items():
        if count > 1:
            found = f"is in the zip {count} times"
            yield Finding(file=archive / name, finding=found, remedy="Keep one of them.")
        problem = _name_problem(name)
        if problem is not None:
            yield Finding(file=archive / name, finding=problem[0], remedy=problem[1])
        elif match := _NAME.fullmatch(PurePosixPath(name).name):
            numbers[int(match[1])] = name
    yield from _completeness(set(numbers), archive, source)
    for number, name in sorted(numbers.items()):
        yield from _check_map(opened, name, archive, source.get(number) if source is not None else None)


def _name_problem(name: str) -> tuple[str, str] | None:
    """Return finding and remedy for a file that must not be there under this name."""
    path = PurePosixPath(name)
    if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
        return "is a hidden file", "Zip without it: `zip -X -r team.zip segmentation_results -x '*/.*'`."
    expected = f"The challenge wants {RESULTS_FOLDER}/seg_caseN.nii.gz, in lower case, N without leading zeros."
    if str(path.parent) != RESULTS_FOLDER:
        return f"lies in the folder `{path.parent}`", expected
    if not _NAME.fullmatch(path.name):
        return "has the wrong name", expected
    return None


def _completeness(numbers: set[int], archive: Path, source: Mapping[int, SourceImage] | None) -> Iterator[Finding]:
    if source is None:
        if not numbers:
            remedy = f"The challenge wants {result_name(1).replace('1', 'N')} for every case."
            yield Finding(file=archive, finding="holds no result", remedy=remedy)
        return
    for number in sorted(source.keys() - numbers):
        name = result_name(number)
        yield Finding(file=archive / name, finding="is missing", remedy=f"Predict {source[number].file} too.")
    for number in sorted(numbers - source.keys()):
        name = result_name(number)
        yield Finding(file=archive / name, finding="answers no image of the test set", remedy="Leave it out.")


def _check_map(opened: zipfile.ZipFile, name: str, archive: Path, source: SourceImage | None) -> Iterator[Finding]:
    """Check one label map: readable, 3D, uint8, legal ids, not empty, on the grid of its image."""
    member = archive / name
    try:
        labels = _read_member(opened, name)
    except DataError as error:
        for defect in error.findings:
            yield Finding(file=member, finding=defect.finding, remedy=defect.remedy)
        return
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        yield Finding(file=member, finding=f"cannot be taken out of the zip ({error})", remedy="Write the zip again.")
        return
    found = label_findings(labels, member)
    yield from found
    if not found and labels.GetPixelID() != sitk.sitkUInt8:
        finding = f"is stored as {labels.GetPixelIDTypeAsString()}"
        yield Finding(file=member, finding=finding, remedy="Write it as uint8.")
    differences = Grid.of(labels).differences(source.grid) if source else []
    if differences:
        remedy = "Write the map on the grid of the published image; undo cropping and resampling first."
        yield Finding(file=member, finding=f"does not lie on its image ({', '.join(differences)})", remedy=remedy)


def _read_member(opened: zipfile.ZipFile, name: str) -> sitk.Image:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "map.nii.gz"
        with opened.open(name) as packed, file.open("wb") as unpacked:
            while chunk := packed.read(_CHUNK_BYTES):
                unpacked.write(chunk)
        return require_scalar_3d(read_any(file), file)
