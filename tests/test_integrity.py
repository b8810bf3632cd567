"""What ITK passes over in silence: files cut off, voxels that are not numbers."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine_ext.data.geometry import Grid, read_image, voxels, write_image
from nnunet_spine_ext.data.integrity import defect
from nnunet_spine_ext.errors import DataError


def nifti(path: Path, dtype: type[np.generic] = np.int16, *, version: int = 1, order: str = "<") -> Path:
    array = np.random.default_rng(0).integers(0, 100, (7, 8, 9)).astype(dtype)
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    header = (nib.Nifti1Header if version == 1 else nib.Nifti2Header)(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    nib.save(kind(array, np.eye(4), header), path)
    return path


WRITERS = {
    "nifti-1": {},
    "nifti-2": {"version": 2},
    "big-endian": {"order": ">"},
    "big-endian floats": {"order": ">", "dtype": np.float32},
    "bytes": {"dtype": np.uint8},
    "doubles": {"dtype": np.float64},
}


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("kind", WRITERS)
def test_whole_files_pass_and_cut_ones_do_not(kind: str, ending: str, tmp_path: Path) -> None:
    path = nifti(tmp_path / f"image.{ending}", **WRITERS[kind])  # type: ignore[arg-type]
    assert defect(path) is None
    content = path.read_bytes()
    for length in (len(content) - 1, len(content) - 8, len(content) // 2, 100):
        path.write_bytes(content[:length])
        if ending == "nii" and length == 100:
            continue  # no header left to hold it to: ITK refuses it
        found = defect(path)
        assert found is not None, length
        assert "is cut off" in found[0]


def test_this_itk_does_read_a_cut_file_without_a_word(tmp_path: Path) -> None:
    """The reason for the module; if it ever fails, ITK has learnt it and the module can go."""
    path = nifti(tmp_path / "image.nii.gz")
    path.write_bytes(path.read_bytes()[:-300])
    assert sitk.ReadImage(str(path)).GetSize() == (7, 8, 9)
    with pytest.raises(DataError, match="is cut off"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", "<>")
def test_voxels_that_are_no_numbers_are_counted(dtype: type[np.generic], order: str, tmp_path: Path) -> None:
    array = np.ones((7, 8, 9), dtype=np.dtype(dtype).newbyteorder(order))
    array[0, 0, 0], array[6, 7, 8], array[3, 3, 3] = np.nan, np.inf, -np.inf
    path = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    found = defect(path)
    assert found is not None
    assert found[0] == "holds 3 voxels that are NaN or infinite"
    with pytest.raises(DataError, match="3 voxels that are NaN"):
        read_image(path)


def test_nan_is_found_across_the_borders_of_the_chunks_read(tmp_path: Path) -> None:
    array = np.zeros((100, 100, 60), dtype=np.float64)  # 4.8 MB, read in pieces of 1 MB
    array.flat[::1000] = np.nan
    path = tmp_path / "image.nii"
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    found = defect(path)
    assert found is not None
    assert found[0] == "holds 600 voxels that are NaN or infinite"


def test_wrong_checksum(tmp_path: Path) -> None:
    path = nifti(tmp_path / "image.nii.gz")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    found = defect(path)
    assert found is not None
    assert "CRC check failed" in found[0]


def test_files_of_other_formats_are_left_to_itk(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"text" * 1000)
    assert defect(path) is None
    path.write_bytes(gzip.compress(b"text" * 1000))
    assert defect(path) is None
    path.write_bytes(b"")
    assert defect(path) == ("is empty", "Download or copy the file again.")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_arbitrary_bytes_never_cause_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "image.nii.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    defect(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_header_with_wrong_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = nifti(tmp_path_factory.mktemp("header") / "image.nii")
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(bytes(content))
    try:
        image = read_image(path)
    except DataError as error:
        assert error.findings[0].file == path
    else:
        assert image.GetDimension() == 3


def test_writing_leaves_what_was_meant(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 9, (3, 4, 5)).astype(np.uint8))
    write_image(image, tmp_path / "image.nii.gz")
    assert (voxels(read_image(tmp_path / "image.nii.gz")) == voxels(image)).all()
    assert Grid.of(read_image(tmp_path / "image.nii.gz")) == Grid.of(image)
    assert [p.name for p in tmp_path.iterdir()] == ["image.nii.gz"]


def test_writing_into_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(DataError, match="cannot be written"):
        write_image(image, tmp_path / "absent" / "image.nii.gz")
