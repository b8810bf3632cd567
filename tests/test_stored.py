"""Reading published files: what any header at all may lead to, and what a scheme derives from published ids."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dataset_conversion import Options, chu, convert_dataset
from dataset_conversion.frame import Release
from nnunet_spine_ext.data.geometry import flattened, lifted, voxels
from nnunet_spine_ext.data.label_files import read_label_table
from nnunet_spine_ext.data.labels import LabelScheme
from nnunet_spine_ext.data.repairs import REPAIRS
from nnunet_spine_ext.data.stored import Stored, ending_of, read_stored
from nnunet_spine_ext.errors import DataError
from tests.data import chu as fake
from tests.data import generic

# Where a NIfTI-1 header says something: sizes, type, offset, scaling, qform, sform, magic.
FIELDS = [(40, 16), (70, 4), (76, 32), (108, 12), (252, 4), (256, 24), (280, 48), (344, 4)]
places = st.sampled_from(FIELDS).flatmap(lambda field: st.integers(field[0], field[0] + field[1] - 1))


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nifti") / "image.nii"
    sitk.WriteImage(sitk.GetImageFromArray(generic.picture(1)), str(path))
    return path


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4))
def test_any_header_is_read_or_refused_with_a_finding(nifti: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(nifti.read_bytes())
    for place, value in changes:
        content[place] = value
    broken = nifti.with_name("broken.nii")
    broken.write_bytes(bytes(content))
    try:
        stored = read_stored(broken, file="image", repairs=tuple(REPAIRS))
    except DataError as error:
        assert all(f.file == broken and f.finding and f.remedy for f in error.findings)
    else:
        assert stored.image.GetDimension() == 3
        assert stored.image.GetNumberOfComponentsPerPixel() == 1
        direction = np.reshape(stored.image.GetDirection(), (3, 3))
        assert np.allclose(direction @ direction.T, np.eye(3), atol=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.floats(width=32), st.sampled_from(range(256, 328, 4)))
def test_any_number_in_qform_and_sform(nifti: Path, value: float, place: int) -> None:
    content = bytearray(nifti.read_bytes())
    struct.pack_into("<f", content, place, value)
    broken = nifti.with_name("number.nii")
    broken.write_bytes(bytes(content))
    try:
        assert isinstance(read_stored(broken, file="label", repairs=tuple(REPAIRS)), Stored)
    except DataError as error:
        assert [f.file for f in error.findings] == [broken]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".json", ".csv", ".label", ".ctbl"]))
def test_any_bytes_as_a_label_table(tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str) -> None:
    path = tmp_path_factory.mktemp("table") / f"table{ending}"
    path.write_bytes(content)
    try:
        table = read_label_table(path)
    except DataError:
        return
    assert table
    assert all(i > 0 and name for i, name in table.items())


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.nii.gz", ".nii.gz"), ("A.NII", ".nii"), ("a.b.TIFF", ".tiff"), ("a.gz", ""), ("nii", ""), ("a.jpg", "")],
)
def test_endings(name: str, ending: str) -> None:
    assert ending_of(Path(name)) == ending


def test_flat_images_are_lifted_and_flattened_again() -> None:
    flat = sitk.GetImageFromArray(np.arange(12, dtype=np.int16).reshape(3, 4))
    flat.SetSpacing((0.5, 0.7))
    flat.SetOrigin((3, -2))
    flat.SetDirection((0, -1, 1, 0))
    volume = lifted(flat)
    assert volume.GetSize() == (4, 3, 1)
    assert volume.GetSpacing() == (0.5, 0.7, 1.0)
    assert volume.GetDirection() == (0, -1, 0, 1, 0, 0, 0, 0, 1)
    assert volume.TransformIndexToPhysicalPoint((2, 1, 0))[:2] == flat.TransformIndexToPhysicalPoint((2, 1))
    back = flattened(volume)
    for which in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(back, which)() == getattr(flat, which)()
    assert (voxels(back) == voxels(flat)).all()
    with pytest.raises(ValueError, match="no single slice"):
        flattened(sitk.Image(2, 2, 2, sitk.sitkUInt8))


def numbered(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str]]:
    """Number the bodies of a binary mask from below."""
    parts, count = ndimage.label(voxels(image))
    labels = sitk.GetImageFromArray(parts.astype(np.uint8))
    labels.CopyInformation(image)
    return labels, (f"{count} bodies numbered", "one id for all of them")


def test_a_scheme_may_derive_its_ids_from_published_ones(tmp_path: Path) -> None:
    fake.write(tmp_path / "download", [1, 2])
    bodies = LabelScheme(
        name="bodies",
        description="One structure per body.",
        structures=tuple((f"body {i}", (i,)) for i in range(1, 8)),
        ordered=True,
    )

    def find(source: Path) -> Release:
        return replace(chu.find(source), schemes=(bodies, chu.BINARY), derive={"bodies": numbered})

    dataset = replace(chu.DATASET, find=find, scheme_names=("bodies", "binary"))
    for number, scheme, expected in ((1, "bodies", list(range(8))), (2, "binary", [0, 1])):
        options = Options(dataset_id=number, labels=scheme, target_root=tmp_path / "raw", processes=1)
        folder = convert_dataset(dataset, tmp_path / "download", options)
        written = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr/Img_01.nii.gz")))
        assert np.unique(written).tolist() == expected
    # An id that the publisher does not define is refused before anything is derived from it.
    mask = fake.mask()
    mask[0, 0, 0] = 2
    fake.save(mask, tmp_path / "download/Img_01_Labels.nii")
    again = Options(dataset_id=3, target_root=tmp_path / "raw", processes=1)
    with pytest.raises(DataError, match=r"holds label 2 \(1 voxels\), but the legal ids are 0, 1"):
        convert_dataset(dataset, tmp_path / "download", again)
