"""Ways to break the good cases of `convert generic`: files cut, renamed, coloured, missing or of another size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tests.data import generic


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A way to break two good cases, and what must be said about it."""

    damage: Callable[[Path], Path]
    """Does it below the folder; returns the file that the message must name."""
    finding: str
    remedy: str
    pictures: bool = False
    """Of pictures instead of volumes."""
    more: tuple[str, ...] = ()
    """Further options."""


def renamed(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def removed(path: Path) -> Path:
    path.unlink()
    return path


def all_labels(root: Path, name: str) -> Path:
    for position, path in enumerate(sorted((root / "labels").iterdir())):
        renamed(path, name.format(position))
    return root / "labels"


def without_images(root: Path) -> Path:
    for path in (root / "images").iterdir():
        path.unlink()
    return root / "images"


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def cut(path: Path) -> Path:
    return written(path, path.read_bytes()[: path.stat().st_size * 2 // 3])


def as_format(root: Path, array: np.ndarray, name: str, *, vector: bool = False) -> Path:
    """Replace the image or label 1 (of the pictures) or scan 05 (of the volumes) by a file of another format."""
    folder = root / Path(name).parent
    for old in folder.glob("1.*") if (root / "images/1.png").exists() else folder.glob("scan_05*"):
        old.unlink()
    return generic.save(array, root / name, vector=vector)


def cut_as(root: Path, ending: str) -> Path:
    return cut(as_format(root, generic.picture(5), f"images/scan_05_T2{ending}"))


def cut_picture(root: Path, ending: str) -> Path:
    return cut(as_format(root, (generic.picture(5)[0] % 256).astype(np.uint8), f"images/1{ending}"))


def colours(root: Path, name: str) -> Path:
    rgb = np.stack([generic.mask()[0], generic.mask()[0], 255 - generic.mask()[0]], axis=-1)
    return as_format(root, rgb, name, vector=True)


def transparent(root: Path) -> Path:
    grey = np.repeat(generic.mask()[0][..., None], 4, axis=-1)
    grey[3, 3, 3] = 200
    return as_format(root, grey, "labels/1.png", vector=True)


def nan_in(root: Path, ending: str) -> Path:
    picture = generic.picture(5).astype(np.float32)
    picture[0, 1, 2] = np.nan
    return as_format(root, picture, f"images/scan_05_T2{ending}")


def saved_array(root: Path, array: np.ndarray) -> Path:
    (root / "labels/1.png").unlink()
    np.save(root / "labels/1.npy", array, allow_pickle=True)
    return root / "labels/1.npy"


def pages(root: Path) -> Path:
    return as_format(root, generic.picture(5), "images/1.tif")


def double_precision(root: Path) -> Path:
    import tifffile

    (root / "images/1.png").unlink()
    tifffile.imwrite(root / "images/1.tif", generic.picture(5)[0].astype(np.float64))
    return root / "images/1.tif"


def placed_label(root: Path) -> Path:
    (root / "labels/1.png").unlink()
    flat = sitk.GetImageFromArray(generic.mask()[0])
    sitk.WriteImage(flat, str(root / "labels/1.nii.gz"))
    return root / "labels/1.nii.gz"


def other_shape(root: Path) -> Path:
    return as_format(root, generic.mask()[0][:, :-1], "labels/1.png")


def flat_among_volumes(root: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(generic.picture(5)[0]), str(root / "images/scan_05_T2.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(generic.mask()[0]), str(root / "labels/scan_05_seg.nii.gz"))
    return root / "images/scan_05_T2.nii.gz"


def series(root: Path, **options: object) -> Path:
    generic.write_series(root / "test/P1", **options)  # type: ignore[arg-type]
    return root / "test/P1"


def two_series(root: Path) -> Path:
    series(root)
    generic.write_series(root / "other", series="1.2.826.0.1.3680043.2.1125.2")
    for path in (root / "other").iterdir():
        path.rename(root / "test/P1" / f"b{path.name}")
    return root / "test/P1"


def broken_series(root: Path) -> Path:
    return written(root / "test/P1/1.dcm", b"no DICOM" * 100).parent


def copied(root: Path, name: str) -> Path:
    source = root / "images/scan_05_T2.nii.gz"
    return written(root / name, source.read_bytes())
