"""Each step on a batch against batchgeneratorsv2's transform on each window, with the same parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

from nnunet_spine_ext.training.augmentation import AxisFlips
from nnunet_spine_ext.training.gpu_augmentation.intensity import gaussian_kernel
from nnunet_spine_ext.training.gpu_augmentation.pipeline import FORMS, BatchPipeline, NoBatchFormError
from tests.training.gpu_augmentation.library import CPU, Batch, Recorder, batch_of, seed

SHAPES = {2: (24, 20), 3: (8, 14, 12)}


def spatial(patch: tuple[int, ...], **changed: Any) -> SpatialTransform:
    """As nnU-Net builds it, but rotating and scaling all the time."""
    settings: dict[str, Any] = {
        "patch_center_dist_from_border": 0,
        "random_crop": False,
        "p_rotation": 1,
        "rotation": (-math.pi, math.pi),
        "p_scaling": 0.5,
        "scaling": (0.7, 1.4),
        "p_synchronize_scaling_across_axes": 0.5,
        "border_mode_seg": "constant",
        "padding_value_seg": -1,
    }
    return SpatialTransform(patch, **settings | changed)


STEPS: dict[str, BasicTransform] = {
    "blur": GaussianBlurTransform((0.3, 1.2), p_per_channel=0.7),
    "blur, channels alike": GaussianBlurTransform((0.3, 1.2), synchronize_channels=True, synchronize_axes=True),
    "brightness": MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False, 0.7),
    "contrast": ContrastTransform(BGContrast((0.3, 1.9)), True, False, 0.7),
    "contrast, free range": ContrastTransform(BGContrast((0.3, 1.9)), False, True),
    "low resolution": SimulateLowResolutionTransform((0.4, 1), False, True, None, None, 0.7),
    "low resolution, in plane": SimulateLowResolutionTransform((0.4, 1), True, False, (0,), (1,), 1),
    "gamma": GammaTransform(BGContrast((0.7, 1.5)), 0.5, False, 0.7, 0.5),
    "gamma, channels alike": GammaTransform(BGContrast((0.7, 1.5)), 1, True, 1, 1),
    "mirror": MirrorTransform((0, 1)),
    "flips": AxisFlips((1,), probability=0.3),
    "mask": MaskImageTransform([1], 0, -0.5),
    "remove": RemoveLabelTransform(-1, 0),
    "regions": ConvertSegmentationToRegionsTransform([[1, 2, 3], [2], 3]),
    "scales": DownsampleSegForDSTransform([1, 0.5, 0.25]),
}


def check_against_library(transform: BasicTransform, batch: Batch, *, tolerance: float = 1e-5) -> None:
    recorder = Recorder(BatchPipeline(transform))
    result = recorder.run(batch)
    for index, expected in enumerate(recorder.replay(batch)):
        torch.testing.assert_close(result["data"][index], expected["image"], atol=tolerance, rtol=0)
        targets, wanted = result["target"], expected["segmentation"]
        if not isinstance(wanted, list):
            targets, wanted = [targets], [wanted]
        assert len(targets) == len(wanted)
        for target, one in zip(targets, wanted, strict=True):
            assert target.dtype == one.dtype
            assert torch.equal(target[index], one)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", STEPS)
def test_a_batch_is_changed_as_the_library_changes_each_window(name: str, dims: int) -> None:
    for number in range(5):
        seed(number)
        check_against_library(STEPS[name], batch_of(*SHAPES[dims], windows=4, seed_of=number))


@pytest.mark.parametrize(
    ("window", "patch"),
    [((30, 26), (20, 16)), ((21, 33), (16, 16)), ((12, 16, 14), (8, 10, 9)), ((9, 10, 21), (6, 12, 13))],
    ids=["room", "odd", "room 3d", "patch beyond the window"],
)
def test_windows_are_turned_as_the_library_turns_them(window: tuple[int, ...], patch: tuple[int, ...]) -> None:
    for number in range(8):
        seed(number)
        check_against_library(spatial(patch), batch_of(*window, windows=3, channels=1, seed_of=number))


@pytest.mark.parametrize("labels", [1, 2, 9])
def test_maps_of_one_two_and_many_labels(labels: int) -> None:
    for number in range(8):
        seed(number)
        batch = batch_of(24, 24, windows=3, labels=labels, seed_of=number)
        batch["target"].clamp_(min=0)
        # No point outside the window: the label outside must not compete.
        check_against_library(spatial((12, 12)), batch)


def test_quarter_turns_put_sample_points_between_two_labels() -> None:
    # Every voxel of the edge is then a tie, which the nearest voxel settles.
    seed(0)
    for quarter in (0.5, 1, 1.5):
        turn = spatial((11, 11), rotation=quarter * math.pi, p_scaling=0)
        for labels in (2, 3):
            batch = batch_of(16, 16, windows=2, labels=labels)
            batch["target"].clamp_(min=0)
            check_against_library(turn, batch)


def test_windows_without_a_turn_are_cut_out_of_the_middle() -> None:
    batch = batch_of(10, 13, windows=2)
    check_against_library(spatial((6, 6), p_rotation=0, p_scaling=0), batch, tolerance=0)
    check_against_library(spatial((14, 6), p_rotation=0, p_scaling=0), batch, tolerance=0)


def test_slices_are_turned_in_plane_and_come_back_as_a_volume() -> None:
    in_plane = ComposeTransforms([Convert3DTo2DTransform(), spatial((10, 9)), Convert2DTo3DTransform()])
    for number in range(4):
        seed(number)
        check_against_library(in_plane, batch_of(5, 16, 15, windows=3, seed_of=number))


@pytest.mark.parametrize("alike", [True, False])
def test_noise_has_the_drawn_deviation_in_the_drawn_channels(alike: bool) -> None:
    seed(3)
    noise = GaussianNoiseTransform((0.5, 2.0), p_per_channel=0.6, synchronize_channels=alike)
    batch = batch_of(60, 60, windows=4, channels=3)
    recorder = Recorder(BatchPipeline(noise))
    added = recorder.run(batch)["data"] - batch["data"]
    ((_, drawn),) = recorder.drawn
    for window, parameters in drawn.items():
        channels = parameters["apply_idx"].tolist()
        deviations = [parameters["sigmas"]] * len(channels) if alike else parameters["sigmas"] or []
        wanted = dict(zip(channels, deviations, strict=True))
        for channel in range(3):
            found = added[window, channel]
            assert float(found.std()) == pytest.approx(wanted.get(channel, 0.0), rel=0.06)
            assert abs(float(found.mean())) < 0.1
    assert len(torch.unique(added[added != 0])) > 10_000  # no plane got another one's noise


@pytest.mark.parametrize("deviation", [0.2, 0.5, 0.74, 0.75, 1.0, 3.0])
def test_a_kernel_is_the_librarys(deviation: float) -> None:
    from batchgeneratorsv2.transforms.noise.gaussian_blur import blur_dimension

    point = torch.zeros(1, 61)
    point[0, 30] = 1
    blurred = blur_dimension(point, deviation, 0)[0]
    kernel = gaussian_kernel(deviation)
    reach = len(kernel) // 2
    torch.testing.assert_close(blurred[30 - reach : 31 + reach], kernel)
    assert blurred[: 30 - reach].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (spatial((4, 4), p_elastic_deform=0.2), "elastic deformation"),
        (spatial((4, 4), random_crop=True), "random crops"),
        (spatial((4, 4), mode_seg="nearest"), "mode_seg 'nearest'"),
        (RandomTransform(spatial((4, 4), align_corners=True)), "align_corners True"),
    ],
)
def test_what_has_no_form_for_a_batch_is_named(transform: BasicTransform, reason: str) -> None:
    with pytest.raises(NoBatchFormError, match=f"SpatialTransform with {reason} has no form"):
        BatchPipeline(ComposeTransforms([transform]))


def test_a_derived_class_is_another_transform() -> None:
    class Harder(ContrastTransform):
        pass

    with pytest.raises(NoBatchFormError, match="Harder has no form"):
        BatchPipeline(Harder((0.5, 2), True, False))
    assert Harder.__mro__[1] in FORMS


def test_the_batch_of_the_loader_stays_as_it_is() -> None:
    batch = batch_of(12, 12, windows=2)
    before = {name: batch[name].clone() for name in ("data", "target")}
    np.random.seed(0)
    result = BatchPipeline(ComposeTransforms([STEPS["contrast"], STEPS["remove"]]))(batch, CPU)
    assert not torch.equal(result["data"], before["data"])
    assert all(torch.equal(batch[name], before[name]) for name in before)
    assert result["keys"] == batch["keys"]
