"""N4 on thick slices: what is shrunk, how much of a known field is removed, and that later images are treated alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data import n4
from nnunet_spine_ext.data.cases import UnrepairableError
from nnunet_spine_ext.data.geometry import Grid, voxels
from nnunet_spine_ext.data.n4 import N4Options, correct, shrink_factors_xyz
from nnunet_spine_ext.data.new_images import Preparation, prepare_folder, recorded_preparation
from nnunet_spine_ext.errors import DataError
from tests.conftest import NnunetFolders
from tests.data import generic
from tests.dataset_conversion.published import generic_arguments, nnunet_spine

QUICK = N4Options(iterations=(20, 10), target_mm=4.0)
GOOD = N4Options(iterations=(50, 50), target_mm=4.0)


def grid(size_xyz: tuple[int, ...], spacing_xyz_mm: tuple[float, ...]) -> Grid:
    return Grid(
        size_xyz=size_xyz,
        spacing_xyz_mm=spacing_xyz_mm,
        origin_xyz_mm=(0.0, 0.0, 0.0),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


@pytest.mark.parametrize(
    ("size", "spacing", "expected"),
    [
        ((880, 880, 15), (0.3448276, 0.3448276, 4.4), (8, 8, 1)),  # the challenge
        ((512, 512, 12), (0.5882, 0.5882, 4.4), (5, 5, 1)),
        ((39, 305, 305), (2.0, 1.25, 1.25), (1, 2, 2)),  # Chu: slices along x
        ((320, 320, 320), (0.9, 0.9, 0.9), (3, 3, 3)),  # no slices at all
        ((40, 40, 12), (0.34, 0.34, 4.4), (2, 2, 1)),  # never to fewer than 16 voxels
        ((20, 20, 12), (0.34, 0.34, 4.4), (1, 1, 1)),
        ((512, 512, 1), (0.5, 0.5, 1.0), (6, 6, 1)),  # a picture
        ((256, 256, 30), (3.0, 3.0, 5.0), (1, 1, 1)),
    ],
)
def test_in_plane_only_and_by_the_spacing(
    size: tuple[int, ...], spacing: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    assert shrink_factors_xyz(grid(size, spacing), N4Options()) == expected


def field(shape: tuple[int, ...]) -> np.ndarray:
    """Logarithm of a smooth field, mean 0."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    log: np.ndarray = 0.45 * x + 0.25 * y**2 - 0.15 * x * y + 0.05 * z
    return log - log.mean()


def tissues(shape: tuple[int, ...]) -> np.ndarray:
    """Three tissues in patches of 6 pixels, noise, nothing outside of a wide margin left and right."""
    rng = np.random.default_rng(0)
    patches = rng.choice([200.0, 500.0, 900.0], (shape[0], shape[1] // 6 + 1, shape[2] // 6 + 1))
    image = np.kron(patches, np.ones((1, 6, 6)))[:, : shape[1], : shape[2]]
    image += rng.normal(0, 8, image.shape)
    image[:, :, :8] = image[:, :, -8:] = 0
    return image


def image_of(array: np.ndarray, spacing: tuple[float, ...] = (2.0, 2.0, 5.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing[: image.GetDimension()])
    return image


def remaining(corrected: np.ndarray, clean: np.ndarray) -> float:
    """Standard deviation of what is left of the field, in log units."""
    inside = clean > 0
    return float(np.std(np.log(np.maximum(corrected[inside], 1)) - np.log(clean[inside])))


def test_most_of_a_known_field_is_removed() -> None:
    clean = tissues((6, 72, 96))
    biased = clean * np.exp(field(clean.shape))
    corrected, facts = correct(image_of(biased), GOOD)
    before, after = remaining(biased, clean), remaining(voxels(corrected), clean)
    assert before > 0.2
    assert after < 0.15 * before
    assert facts.shrink_xyz == (2, 2, 1)
    inside = clean > 0
    truth = np.exp(field(clean.shape)[inside])
    assert facts.field_maximum / facts.field_minimum == pytest.approx(truth.max() / truth.min(), rel=0.2)


def test_background_stays_zero_and_the_header_stays() -> None:
    clean = tissues((6, 48, 64))
    image = image_of(clean * np.exp(field(clean.shape)))
    image.SetOrigin((3.0, -4.0, 5.0))
    image.SetDirection((0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    corrected, _ = correct(image, QUICK)
    assert Grid.of(corrected) == Grid.of(image)
    assert corrected.GetPixelID() == sitk.sitkFloat32
    assert not voxels(corrected)[clean == 0].any()


def test_negative_voxels_are_shifted_and_shifted_back() -> None:
    clean = tissues((6, 48, 64))
    image = clean * np.exp(field(clean.shape))
    plain, _ = correct(image_of(image), QUICK)
    shifted, facts = correct(image_of(image - 300), QUICK)
    assert facts.shifted_by == pytest.approx(300, abs=0.01) or facts.shifted_by > 300
    lowest = float((image - 300).min())
    assert facts.shifted_by == pytest.approx(-lowest, abs=0.01)
    assert voxels(shifted).min() == pytest.approx(lowest, abs=0.5)
    # Shifted to zero again, it is the same image but for the lowest noise voxel.
    assert np.median(np.abs(voxels(shifted) - lowest - (voxels(plain) - image.min()))) < 25


def test_the_same_image_gives_the_same_bytes_whatever_the_number_of_threads() -> None:
    clean = tissues((6, 48, 64))
    image = image_of(clean * np.exp(field(clean.shape)))
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    for number in (1, 3):
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
        results.append(voxels(correct(image, QUICK)[0]))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert (results[0] == results[1]).all()


def test_a_single_slice_is_corrected_in_its_plane() -> None:
    clean = tissues((1, 72, 96))
    biased = clean * np.exp(field((1, 72, 96)))
    corrected, facts = correct(image_of(biased, (2.0, 2.0, 1.0)), GOOD)
    assert corrected.GetSize() == (96, 72, 1)
    assert remaining(voxels(corrected), clean) < 0.5 * remaining(biased, clean)
    assert facts.shrink_xyz == (2, 2, 1)


def test_an_image_without_foreground_is_refused() -> None:
    with pytest.raises(UnrepairableError, match="N4"):
        correct(image_of(np.zeros((6, 32, 32))), QUICK)


@pytest.mark.parametrize(
    "change",
    [
        {"target_mm": 0},
        {"iterations": []},
        {"iterations": [0]},
        {"control_points": 3},
        {"wiener_noise": -1},
        {"target_mm": None},
        {"iterations": 5},
    ],
)
def test_options_survive_json_and_nonsense_is_refused(change: dict[str, Any]) -> None:
    entry = json.loads(json.dumps(N4Options().to_json()))
    assert N4Options.from_json(entry) == N4Options()
    with pytest.raises(ValueError, match="N4"):
        N4Options.from_json({**entry, **change})
    with pytest.raises(ValueError, match="keys"):
        N4Options.from_json({**entry, "strange": 1})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the default options quick."""
    from nnunet_spine_ext.cli.convert import find_converters

    monkeypatch.setattr(find_converters().frame, "N4Options", lambda: QUICK)


def small_dataset(root: Path) -> Path:
    for number in (5, 7):
        clean = tissues((6, 48, 64))
        generic.save((clean * np.exp(field(clean.shape))).astype(np.int16), root / f"images/scan_{number:02d}.nii.gz")
        mask = np.zeros(clean.shape, np.uint8)
        mask[2:4, 10:20, 20:30] = 1
        generic.save(mask, root / f"labels/scan_{number:02d}.nii.gz")
    generic.write_table(root / "names.csv", {"spine": 1})
    return root


def test_a_dataset_records_what_was_done_and_later_images_are_corrected_alike(
    tmp_path: Path, nnunet_folders: NnunetFolders, quick: None
) -> None:
    root = small_dataset(tmp_path / "files")
    ended = nnunet_spine("convert", *generic_arguments(root), "-d", 501, "-np", 1, "--n4")
    assert ended.code == 0, ended.error
    folder = nnunet_folders.raw / "Dataset501_Fake"
    assert json.loads((folder / "dataset.json").read_text())["spine"]["n4"] == QUICK.to_json()
    entry = json.loads((folder / "conversion_log.json").read_text())["cases"]["scan_05"]
    facts = entry["written"]["image"]["n4"]
    assert facts["field_minimum"] < 1 < facts["field_maximum"]
    assert facts["seconds"] >= 0
    assert [c["repair"] for c in entry["changes"]] == ["n4"]
    ended = nnunet_spine("prepare", "-i", root / "images", "-o", tmp_path / "later", "-d", 501, "-np", 1)
    assert ended.code == 0, ended.error
    assert "2 prepared images in" in ended.out
    written = sitk.ReadImage(str(folder / "imagesTr/scan_05_0000.nii.gz"))
    later = sitk.ReadImage(str(tmp_path / "later/scan_05.nii.gz"))
    assert (voxels(written) == voxels(later)).all()
    record = json.loads((tmp_path / "later/prepared.json").read_text())
    assert record["options"] == {"image_steps": [], "n4": QUICK.to_json()}
    assert {
        k: v for k, v in record["files"]["scan_05.nii.gz"]["n4"].items() if k in ("field_minimum", "shrink_xyz")
    } == {k: facts[k] for k in ("field_minimum", "shrink_xyz")}
    assert sorted(p.name for p in (tmp_path / "later").iterdir()) == [
        "prepared.json",
        "scan_05.nii.gz",
        "scan_07.nii.gz",
    ]


def test_images_and_labels_are_the_same_with_and_without_n4(tmp_path: Path, quick: None) -> None:
    root = small_dataset(tmp_path / "files")
    for number, more in ((1, ()), (2, ("--n4",))):
        ended = nnunet_spine("convert", *generic_arguments(root), "-d", number, "-o", tmp_path, "-np", 1, *more)
        assert ended.code == 0, ended.error
    plain, corrected = tmp_path / "Dataset001_Fake", tmp_path / "Dataset002_Fake"
    assert (plain / "labelsTr/scan_05.nii.gz").read_bytes() == (corrected / "labelsTr/scan_05.nii.gz").read_bytes()
    assert "n4" not in json.loads((plain / "dataset.json").read_text())["spine"]


def test_finished_images_are_kept_and_changed_ones_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = small_dataset(tmp_path / "files") / "images"
    calls: list[str] = []
    original = n4.correct

    def counted(image: sitk.Image, options: N4Options) -> Any:
        calls.append("corrected")
        return original(image, options)

    monkeypatch.setattr(n4, "correct", counted)
    out = tmp_path / "out"
    prepare_folder(images, out, preparation=Preparation(n4=QUICK))
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    prepare_folder(images, out, preparation=Preparation(n4=QUICK))
    assert len(calls) == 2
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    (out / "scan_05.nii.gz").write_bytes(b"damaged")
    prepare_folder(images, out, preparation=Preparation(n4=QUICK))
    assert len(calls) == 3
    assert (out / "scan_05.nii.gz").read_bytes() == before["scan_05.nii.gz"]
    prepare_folder(images, out, preparation=Preparation(n4=N4Options(iterations=(5,), target_mm=4.0)))
    assert len(calls) == 5


def test_a_stopped_run_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = small_dataset(tmp_path / "files") / "images"
    calls: list[int] = []
    original = n4.correct

    def stop_at_second(image: sitk.Image, options: N4Options) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(image, options)

    monkeypatch.setattr(n4, "correct", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        prepare_folder(images, tmp_path / "out", preparation=Preparation(n4=QUICK))
    assert not (tmp_path / "out/prepared.json").exists()
    prepare_folder(images, tmp_path / "out", preparation=Preparation(n4=QUICK))
    assert len(calls) == 3
    assert len(json.loads((tmp_path / "out/prepared.json").read_text())["files"]) == 2


def test_bad_images_are_all_named(tmp_path: Path) -> None:
    images = small_dataset(tmp_path / "files") / "images"
    (images / "scan_05.nii.gz").write_bytes(b"")
    generic.save(np.zeros((6, 32, 32), np.int16), images / "scan_09.nii.gz")
    with pytest.raises(DataError) as caught:
        prepare_folder(images, tmp_path / "out", preparation=Preparation(n4=QUICK))
    assert [f.file.name for f in caught.value.findings] == ["scan_05.nii.gz", "scan_09.nii.gz"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["prepared.json", "scan_07.nii.gz"]


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        prepare_folder(tmp_path / "absent", tmp_path / "out", preparation=Preparation(n4=QUICK))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        prepare_folder(tmp_path / "empty", tmp_path / "out", preparation=Preparation(n4=QUICK))
    with pytest.raises(DataError, match="is the folder of the originals"):
        prepare_folder(tmp_path / "empty", tmp_path / "empty", preparation=Preparation(n4=QUICK))


def test_a_dataset_whose_images_are_as_published_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"spine": {}}')
    with pytest.raises(DataError, match=r"records nothing .*Predict from the images as they are"):
        recorded_preparation(tmp_path, {})
    (tmp_path / "dataset.json").write_text('{"spine": {"n4": {"target_mm": 3}}}')
    with pytest.raises(DataError, match="Convert the dataset again"):
        recorded_preparation(tmp_path, {})


def test_ct_has_no_bias_field(tmp_path: Path) -> None:
    from dataset_conversion import Folders, Options, convert_folders
    from nnunet_spine_ext.errors import SpineExtError

    root = small_dataset(tmp_path / "files")
    folders = Folders(
        images=root / "images", labels=root / "labels", label_table=root / "names.csv", name="Fake", channel="CT"
    )
    with pytest.raises(SpineExtError, match="CT has no bias field"):
        convert_folders(folders, Options(dataset_id=1, n4=True, target_root=tmp_path))
