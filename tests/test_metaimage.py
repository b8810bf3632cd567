"""A .mha file that is cut off or damaged anywhere is refused, and the finding says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import read_image
from nnunet_spine_ext.errors import DataError

VOXELS = np.random.default_rng(0).integers(0, 900, (5, 40, 24)).astype(np.int16)


def written(path: Path, *, compressed: bool) -> bytes:
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=compressed)
    return path.read_bytes()


def finding_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_image(path)
    (found,) = caught.value.findings
    assert found.file == path
    assert "No such file" not in found.finding
    return found.finding


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.005, 0.02, 0.04, 0.3, 0.9, 0.999])
def test_cut_off_anywhere(tmp_path: Path, share: float, compressed: bool) -> None:
    path = tmp_path / "1_t1.mha"
    content = written(path, compressed=compressed)
    assert (sitk.GetArrayFromImage(read_image(path)) == VOXELS).all()
    path.write_bytes(content[: int(share * len(content))])
    assert "cut off" in finding_of(path)


@pytest.mark.parametrize("from_end", [2, 60, 4000])
def test_damaged_compressed_voxels_which_itk_reads_as_others(tmp_path: Path, from_end: int) -> None:
    path = tmp_path / "1_t1.mha"
    content = bytearray(written(path, compressed=True))
    content[-from_end] ^= 255
    path.write_bytes(content)
    assert finding_of(path).startswith(("is damaged", "is cut off"))


def test_a_promise_of_more_voxels_than_there_are(tmp_path: Path) -> None:
    path = tmp_path / "1_t1.mha"
    content = written(path, compressed=True)
    path.write_bytes(content.replace(b"DimSize = 24 40 5", b"DimSize = 24 40 6"))
    assert finding_of(path) == "is damaged: it holds 9600 of the 11520 bytes of voxels that its header promises"


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("compressed", [True, False])
def test_whole_files_of_every_type_are_read(tmp_path: Path, kind: type[np.generic], compressed: bool) -> None:
    path = tmp_path / "scan.mha"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS.astype(kind)), str(path), useCompression=compressed)
    assert (sitk.GetArrayFromImage(read_image(path)) == VOXELS.astype(kind)).all()
