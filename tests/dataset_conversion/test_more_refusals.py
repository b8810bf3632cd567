"""The corpus of `test_refusals` for the other datasets, and what can be wrong with their own kinds of files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.data import lungs, spider
from tests.dataset_conversion.more_published import MORE
from tests.dataset_conversion.published import files_below, nnunet_spine
from tests.dataset_conversion.test_refusals import BROKEN

NO_SUCH = {
    "spider": {"axes not at right angles", "coloured mask", "unknown name", "one bit flipped", "complex image"},
    "verse": {"label 20", "label 20 as float"},  # L1
    "lung3d": set[str](),
}
"""Ways to break NIfTI files that do not break these."""
OTHERWISE = {
    ("spider", "label 20"): ("holds the ids 20, but positions above 10 have no class", "Check the mask"),
    ("spider", "label 20 as float"): ("holds the ids 20, but positions above 10 have no class", "Check the mask"),
    # Both are turned by their own headers first: what is left is a mask in another place.
    ("spider", "mask mirrored"): ("voxels beside its image", "correct the header"),
    ("verse", "mask mirrored"): ("voxels beside its image", "correct the header"),
    ("lung3d", "label 20"): (r"holds label 20 \(2 voxels\), label 255", "Correct the mask"),
    ("lung3d", "coloured mask"): ("nothing of the scheme 'lungs' is labelled", "--keep-empty"),  # black
    ("verse", "constant image"): ("a copy for the screen", "Get the original CT"),
    ("lung3d", "constant image"): ("a copy for the screen", "Get the original CT"),
    ("verse", "same number twice"): ("has no mask", "Get the mask"),  # sub-verse00005
    ("lung3d", "same number twice"): ("is not called like IMG_0002.nii.gz", "Rename it"),  # IMG_000005
}
PAIRS = [(dataset, kind) for dataset in MORE for kind in BROKEN if kind not in NO_SUCH[dataset]]


def refused_line(arguments: tuple[object, ...], file: Path, raw: Path) -> str:
    """Convert in vain; return what was said of a file."""
    raw.mkdir()
    ended = nnunet_spine("convert", *arguments, "-d", 501, "-o", raw, "-np", 1)
    assert ended.code == 1
    assert "Traceback" not in ended.error + ended.out
    assert list(raw.iterdir()) == []
    (line,) = [line for line in ended.error.splitlines() if line.strip().startswith(f"{file}: ")]
    return line


@pytest.mark.parametrize(("dataset", "kind"), PAIRS)
def test_broken_input_is_named_and_nothing_is_written(dataset: str, kind: str, tmp_path: Path) -> None:
    published = MORE[dataset](tmp_path / "download")
    broken = BROKEN[kind]
    if (dataset, kind) in OTHERWISE:
        finding, remedy = OTHERWISE[dataset, kind]
        broken = replace(broken, finding=finding, remedy=remedy)
    line = refused_line(published.arguments, broken.damage(published), tmp_path / "raw")
    assert re.search(broken.finding, line)
    assert broken.remedy in line


@pytest.mark.parametrize("dataset", MORE)
def test_the_undamaged_downloads_are_accepted(dataset: str, tmp_path: Path) -> None:
    published = MORE[dataset](tmp_path / "download")
    assert nnunet_spine("convert", *published.arguments, "-d", 501, "-o", tmp_path / "raw", "-np", 1).code == 0


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A way to break a fake of lung2d or spider, and what must be said."""

    damage: Callable[[Path], Path]
    finding: str
    remedy: str


SLICE = lungs.name_2d(31)


def _slice(array: np.ndarray, *, folder: str = "2d_images", name: str = SLICE) -> Callable[[Path], Path]:
    return lambda root: lungs.save_tiff(array, root / folder / name, colours=array.ndim == 3)


def _removed(path: str, named: str) -> Callable[[Path], Path]:
    def remove(root: Path) -> Path:
        (root / path).unlink()
        return root / named

    return remove


def _written(path: str, content: bytes) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        (root / path).write_bytes(content)
        return root / path

    return write


def _cut(path: str, share: float = 0.6) -> Callable[[Path], Path]:
    def cut(root: Path) -> Path:
        content = (root / path).read_bytes()
        return _written(path, content[: int(len(content) * share)])(root)

    return cut


def _pages(root: Path) -> Path:
    path = root / "2d_images" / SLICE
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([lungs.chest(31)] * 3)), str(path))
    return path


def _copied(path: str, copy: str) -> Callable[[Path], Path]:
    return lambda root: _written(copy, (root / path).read_bytes())(root)


HU, MASK = lungs.chest(31), lungs.lungs()
NAN = np.where(HU > 0, np.nan, HU).astype(np.float32)
SLICES = {
    "mask missing": Broken(
        damage=_removed(f"2d_masks/{SLICE}", f"2d_images/{SLICE}"), finding="has no mask", remedy="Get the mask"
    ),
    "mask without image": Broken(
        damage=_removed(f"2d_images/{SLICE}", f"2d_masks/{SLICE}"), finding="mask without image", remedy="Get the image"
    ),
    "shape mismatch": Broken(
        damage=_slice(MASK[:, :-1], folder="2d_masks"), finding="has size .* but its image", remedy="get both again"
    ),
    "grey mask": Broken(
        damage=_slice(MASK // 2, folder="2d_masks"), finding=r"holds label 127 \(", remedy="Correct the mask"
    ),
    "three values": Broken(
        damage=_slice(np.minimum(MASK, 7) * 2 - (MASK > 0) * np.eye(40, dtype=np.uint8), folder="2d_masks"),
        finding=r"holds label 13 \(.*label 14 \(",
        remedy="Correct the mask",
    ),
    "coloured mask": Broken(
        damage=_slice(np.stack([MASK, MASK, MASK // 2], axis=-1), folder="2d_masks"),
        finding="holds colours",
        remedy="one value per pixel",
    ),
    "empty mask": Broken(
        damage=_slice(MASK * 0, folder="2d_masks"), finding="nothing of the scheme 'lungs'", remedy="--keep-empty"
    ),
    "8 bits": Broken(
        damage=_slice((HU >> 8).astype(np.uint8)), finding="no Hounsfield units", remedy="Get the original CT"
    ),
    "8 bits in RGB": Broken(
        damage=_slice(np.stack([(HU >> 8).astype(np.uint8)] * 3, axis=-1)),
        finding="no Hounsfield units",
        remedy="Get the original CT",
    ),
    "offset": Broken(
        damage=_slice((np.maximum(HU, -1024) + 1024).astype(np.int16)),
        finding="but air is about -1000 HU",
        remedy="an offset",
    ),
    "NaN": Broken(damage=_slice(NAN), finding="voxels that are NaN or infinite", remedy="Replace them"),
    "several pages": Broken(damage=_pages, finding="holds 3 pages", remedy="Save each page"),
    "cut off": Broken(damage=_cut(f"2d_images/{SLICE}"), finding="cannot be read|is cut off", remedy="again"),
    "empty file": Broken(damage=_written(f"2d_masks/{SLICE}", b""), finding="is empty", remedy="again"),
    "a web page": Broken(
        damage=_written(f"2d_images/{SLICE}", b"<html>please log in</html>" * 50),
        finding="cannot be read",
        remedy="get it again",
    ),
    "name of another kind": Broken(
        damage=_copied(f"2d_images/{SLICE}", "2d_images/ID_31_Z_120.tif"), finding="is not called like", remedy="Rename"
    ),
    "the same slice as .tiff": Broken(
        damage=_copied(f"2d_images/{SLICE}", f"2d_images/{SLICE}f"),
        finding="has the same number as",
        remedy="Keep one",
    ),
}
SERIES = {
    "unknown sequence": Broken(
        damage=_copied("images/1_t1.mha", "images/1_t3.mha"), finding="is not called like 1_t1.mha", remedy="Rename it"
    ),
    "copy": Broken(
        damage=_copied("images/1_t1.mha", "images/1_t1 (1).mha"), finding="is not called like", remedy="Rename it"
    ),
    "mask of another sequence": Broken(
        damage=_copied("masks/1_t1.mha", "masks/5_t1.mha"), finding="mask without image", remedy="Get the image"
    ),
    "sacrum": Broken(
        damage=lambda root: spider.save(np.where(spider.mask() == 0, 50, spider.mask()), root / "masks/1_t1.mha"),
        finding="holds label 50",
        remedy="Correct the mask",
    ),
    "turned mask": Broken(
        damage=lambda root: spider.save(spider.mask(), root / "masks/1_t1.mha", (1, 0, 0, 0, 1, 0, 0, 0, 1)),
        finding="has size .* but its image|voxels beside its image",
        remedy="get both again",
    ),
}


@pytest.mark.parametrize("kind", SLICES)
def test_broken_slices(kind: str, tmp_path: Path) -> None:
    root, broken = lungs.write_slices(tmp_path / "download"), SLICES[kind]
    line = refused_line(("lung2d", root), broken.damage(root), tmp_path / "raw")
    assert re.search(broken.finding, line)
    assert broken.remedy in line


@pytest.mark.parametrize("kind", SERIES)
def test_broken_series(kind: str, tmp_path: Path) -> None:
    root, broken = spider.write(tmp_path / "download", overview=False), SERIES[kind]
    line = refused_line(("spider", root), broken.damage(root), tmp_path / "raw")
    assert re.search(broken.finding, line)
    assert broken.remedy in line


def test_all_findings_of_the_slices_come_at_once(tmp_path: Path) -> None:
    root = lungs.write_slices(tmp_path / "download")
    files = [
        SLICES["8 bits"].damage(root),
        _cut(f"2d_images/{lungs.name_2d(2)}")(root),
        _slice(MASK // 2, folder="2d_masks", name=lungs.name_2d(59))(root),
        _removed(f"2d_masks/{lungs.name_2d(78)}", f"2d_images/{lungs.name_2d(78)}")(root),
    ]
    before = files_below(tmp_path)
    ended = nnunet_spine("convert", "lung2d", root, "-d", 501, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert "4 findings:" in ended.error
    assert all(f"  {file}: " in ended.error for file in files)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("dataset", "layout"),
    [
        ("spider", "images/N_t1.mha"),
        ("verse", "SET/rawdata"),
        ("lung2d", "2d_images/ID_"),
        ("lung3d", "3d_images/IMG_"),
    ],
)
def test_a_wrong_folder_is_told_what_was_expected_and_what_is_there(dataset: str, layout: str, tmp_path: Path) -> None:
    (tmp_path / "train" / "pictures").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    ended = nnunet_spine("convert", dataset, tmp_path, "-d", 501, "-o", tmp_path / "raw")
    assert ended.code == 1
    assert "it holds notes.txt, train/ (pictures/)" in ended.error
    assert layout in ended.error
