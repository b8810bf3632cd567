"""Metrics slice by slice: which slices are kept, what their mean is, what stands in the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnunet_spine_ext.evaluation.slices import slice_rows
from nnunet_spine_ext.evaluation.sources import read_sources
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, UNION, Structures
from nnunet_spine_ext.report.results import read_results
from nnunet_spine_ext.report.tables import as_text
from tests.conftest import NnunetFolders
from tests.dataset_conversion.published import nnunet_spine
from tests.evaluation.fake import read_rows, write_array, write_dataset

BODIES = Structures.of({"background": 0, "bodies": 1})
TWO = Structures.of({"background": 0, "L5": 1, "L4": 2, "ignore": 3})


def measured(
    reference: np.ndarray, prediction: np.ndarray, *, above: int, structures: Structures = BODIES, across: int = 0
) -> dict[tuple[str, str], float]:
    spacing = tuple(2.0 if axis == across else 1.25 for axis in range(3))
    rows = slice_rows(reference, prediction, structures, spacing_zyx_mm=spacing, above=above)
    return {(label, metric): value for label, metric, value in rows}


@pytest.mark.parametrize(("pixels", "kept"), [(2129, 0), (2130, 1)])
def test_the_papers_number_of_pixels_is_scaled_by_the_area_of_a_slice(pixels: int, kept: int) -> None:
    # 1500 * 305 * 305 / 256 / 256 = 2129.17
    reference = np.zeros((305, 305, 2), np.uint8)
    flat = np.zeros(305 * 305, np.uint8)
    flat[:pixels] = 1
    reference[..., 1] = flat.reshape(305, 305)
    assert measured(reference, reference, above=1500, across=2)[ALL_STRUCTURES, "slices_kept"] == kept


def test_exactly_that_many_pixels_are_not_enough() -> None:
    reference = np.zeros((2, 256, 256), np.uint8)
    reference[0, :3, :100] = 1
    reference[1, :3, :100] = 1
    reference[1, 3, 0] = 1
    assert measured(reference, reference, above=300)[ALL_STRUCTURES, "slices_kept"] == 1


@pytest.mark.parametrize("across", [0, 1, 2])
def test_mean_over_slices_against_a_plain_loop(across: int) -> None:
    generator = np.random.default_rng(across)
    reference, prediction = (generator.integers(0, 3, (7, 8, 9)).astype(np.uint8) for _ in range(2))
    np.moveaxis(reference, across, 0)[2] = 0  # nothing to see there
    found = measured(reference, prediction, above=1000, structures=TWO, across=across)
    dice, ppv = [], []
    for i in range(reference.shape[across]):
        a, b = np.take(reference, i, axis=across) == 1, np.take(prediction, i, axis=across) == 1
        if np.take(reference, i, axis=across).any():
            dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
            ppv.append((a & b).sum() / b.sum())
    assert found["L5", "slice_dice"] == pytest.approx(np.mean(dice))
    assert found["L5", "slice_ppv"] == pytest.approx(np.mean(ppv))
    assert found[ALL_STRUCTURES, "slices_kept"] == reference.shape[across] - 1 == len(dice)


def test_what_is_in_a_slice_of_one_side_only_or_of_neither() -> None:
    reference, prediction = (np.zeros((3, 4, 4), np.uint8) for _ in range(2))
    reference[:, 0] = 1
    prediction[:, 0] = 1
    reference[0, 1] = 2  # missed: Dice 0
    prediction[1, 1] = 2  # made up: Dice 0, no sensitivity
    found = measured(reference, prediction, above=0, structures=TWO)
    assert found["L4", "slice_dice"] == 0  # of two slices; the third has it on neither side
    assert found["L4", "slice_sensitivity"] == 0
    assert found["L5", "slice_dice"] == 1
    assert found[UNION, "slice_iou"] == pytest.approx(np.mean([0.5, 0.5, 1]))


def test_ignored_pixels_keep_no_slice() -> None:
    reference = np.full((2, 4, 4), 3, np.uint8)
    found = measured(reference, reference * 0, above=0, structures=TWO)
    assert found[ALL_STRUCTURES, "slices_kept"] == 0
    assert np.isnan(found["L5", "slice_dice"])


def test_the_table_has_the_means_and_the_number_kept_beside_the_usual_rows(
    tmp_path: Path, nnunet_folders: NnunetFolders
) -> None:
    folder = write_dataset(nnunet_folders.raw, {"background": 0, "bodies": 1})
    reference = np.zeros((16, 16, 3), np.uint8)
    reference[:2, :, 1] = 1
    reference[:8, :, 2] = 1
    prediction = reference.copy()
    prediction[:8, :8, 2] = 0
    for target, array in ((folder / "labelsTs", reference), (tmp_path / "predicted", prediction)):
        write_array(target / "a.nii.gz", array, spacing_xyz_mm=(2.0, 1.0, 1.0))
    table = tmp_path / "m.csv"
    plain = ("evaluate", "-d", 501, "-i", tmp_path / "predicted", "-np", 1, "-o")
    # 1500 of 256 x 256 are 5.9 of 16 x 16; 10000 are 39.
    for above, kept, dice in ((1500, 2, (1 + 2 / 3) / 2), (10_000, 1, 2 / 3)):
        ended = nnunet_spine(*plain, table, "--slices-above", above)
        assert ended.code == 0, ended.error
        rows = read_rows(table)
        assert rows["a", ALL_STRUCTURES, "slices_kept"] == kept
        assert rows["a", "bodies", "slice_dice"] == pytest.approx(dice)
        assert rows["a", "bodies", "dice"] == pytest.approx(2 * 96 / (96 + 160))
    sources = read_sources(table)
    assert sources is not None
    assert sources.notes["slices"] == "more than 10000 reference pixels per 256 x 256"
    assert "slice_dice" in {metric.key for metric in read_results([table]).metrics}
    assert as_text(read_results([table]))
    assert nnunet_spine(*plain, tmp_path / "plain.csv").code == 0
    assert not any(metric.startswith("slice") for _, _, metric in read_rows(tmp_path / "plain.csv"))
    assert "slices" not in json.loads((tmp_path / "plain.csv.sources.json").read_text())["notes"]
