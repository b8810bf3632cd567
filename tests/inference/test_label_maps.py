"""Label maps made part by part are those of nnU-Net's own export, to the last voxel, on random logits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine_ext.inference.decision import CHUNK, Largest, LastRegion
from nnunet_spine_ext.inference.label_maps import Model, label_map
from tests.training.tiny import make_dataset_json, make_plans

LABELS = {"background": 0, "a": 1, "b": 2, "c": 3}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}
ORDER = [1, 2, 3]

THICK = {"plan": (4.0, 0.5, 0.5), "image": (4.0, 0.4, 0.4)}
THICKER = {"plan": (4.0, 0.5, 0.5), "image": (3.2, 0.4, 0.4)}
EVEN = {"plan": (1.0, 1.0, 1.0), "image": (1.5, 0.9, 1.2)}


def make_model(
    *,
    plan_spacing: tuple[float, ...],
    transpose: tuple[int, ...] = (0, 1, 2),
    resampling: dict[str, Any] | None = None,
    function: str = "resample_data_or_seg_to_shape",
    **dataset: Any,
) -> Model:
    plans = deepcopy(make_plans())
    configuration = "3d_fullres" if len(plan_spacing) == 3 else "2d"
    plans["transpose_forward"] = list(transpose)
    plans["transpose_backward"] = [transpose.index(axis) for axis in range(3)]
    chosen = plans["configurations"][configuration]
    chosen |= {"spacing": list(plan_spacing), "resampling_fn_probabilities": function}
    if resampling is not None:
        chosen["resampling_fn_probabilities_kwargs"] = resampling
    manager = PlansManager(plans)
    facts = make_dataset_json(**dataset)
    return Model(
        plans=manager,
        configuration=manager.get_configuration(configuration),
        labels=manager.get_label_manager(facts),
    )


def properties_of(
    model: Model, image_spacing: tuple[float, ...], target: tuple[int, ...], *, margin: int = 0
) -> dict[str, Any]:
    """What nnU-Net's preprocessing notes; `image_spacing` and `target` in the axes of the plan."""
    box = [[margin, margin + n] for n in target]
    return {
        "spacing": [image_spacing[axis] for axis in model.plans.transpose_backward],
        "shape_after_cropping_and_before_resampling": target,
        "shape_before_cropping": tuple(n + 2 * margin + (margin > 0) for n in target),
        "bbox_used_for_cropping": box,
    }


def random_logits(channels: int, shape: tuple[int, ...], *, dtype: Any = np.float16, seed: int = 0) -> np.ndarray:
    """Logits of few values, so that many are equal: the order of ties counts."""
    return (np.random.default_rng(seed).integers(-6, 7, (channels, *shape)) / 4).astype(dtype)


def assert_as_nnunet(model: Model, logits: np.ndarray, properties: dict[str, Any]) -> np.ndarray:
    """Both with and without a pool; returns the label map."""
    assert model.why_not_lean() is None
    expected = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits.copy(), model.plans, model.configuration, model.labels, properties, num_threads_torch=1
    )
    before = logits.copy()
    alone = label_map(logits, properties, model=model)
    with ThreadPoolExecutor(3) as pool:
        shared = label_map(logits, properties, model=model, pool=pool, threads=3)
    for found in (alone, shared):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
    assert logits.tobytes() == before.tobytes()
    return alone


RESAMPLINGS = {
    "thick slices, in their plane": (THICK, (5, 24, 20), (5, 30, 25)),
    "thick slices, more of them": (THICKER, (5, 24, 20), (7, 30, 25)),
    "thick slices, fewer of them": (THICK, (7, 24, 20), (4, 30, 25)),
    "thick slices, between them only": (THICK, (7, 24, 20), (4, 24, 20)),
    "thick slices, smaller": (THICK, (5, 40, 31), (5, 23, 17)),
    "even voxels": (EVEN, (12, 14, 13), (9, 17, 11)),
    "nothing": (THICK, (5, 24, 20), (5, 24, 20)),
}


@pytest.mark.parametrize("regions", [False, True], ids=["labels", "regions"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("name", RESAMPLINGS)
def test_label_maps_are_those_of_nnunet(name: str, dtype: Any, regions: bool) -> None:
    spacing, source, target = RESAMPLINGS[name]
    facts = {"labels": REGIONS, "regions_class_order": ORDER} if regions else {"labels": LABELS}
    model = make_model(plan_spacing=spacing["plan"], **facts)
    logits = random_logits(model.labels.num_segmentation_heads, source, dtype=dtype)
    labels = assert_as_nnunet(model, logits, properties_of(model, spacing["image"], target))
    assert set(np.unique(labels)) == {0, 1, 2, 3}


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("thick_axis", [0, 1, 2])
def test_any_axis_may_be_the_thick_one(transpose: tuple[int, ...], thick_axis: int) -> None:
    def at(first: Any, others: tuple[Any, Any]) -> tuple[Any, ...]:
        rest = list(others)
        return tuple(first if axis == thick_axis else rest.pop(0) for axis in range(3))

    model = make_model(plan_spacing=at(4.0, (0.5, 0.5)), transpose=transpose, labels=LABELS)
    properties = properties_of(model, at(3.2, (0.4, 0.45)), at(6, (21, 16)), margin=2)
    logits = random_logits(4, at(5, (17, 14)))
    assert model.resampling(logits.shape[1:], properties).axis == thick_axis
    assert_as_nnunet(model, logits, properties)


def test_a_crop_is_put_back() -> None:
    model = make_model(plan_spacing=THICK["plan"], labels=LABELS)
    labels = assert_as_nnunet(
        model, random_logits(4, (5, 24, 20)), properties_of(model, THICK["image"], (5, 30, 25), margin=3)
    )
    assert labels.shape == (12, 37, 32)
    assert not labels[:3].any()
    assert labels[3:8].any()


def test_a_2d_plan() -> None:
    model = make_model(plan_spacing=(0.5, 0.5), labels=LABELS)
    for image, target in (
        ((4.0, 0.4, 0.4), (6, 30, 25)),
        ((0.6, 0.4, 0.4), (6, 30, 25)),
        ((4.0, 0.5, 0.5), (6, 24, 20)),
    ):
        assert_as_nnunet(model, random_logits(4, (6, 24, 20)), properties_of(model, image, target))


def test_the_ignore_label_has_no_channel() -> None:
    model = make_model(plan_spacing=THICK["plan"], labels={**LABELS, "ignore": 4})
    labels = assert_as_nnunet(model, random_logits(4, (5, 24, 20)), properties_of(model, THICK["image"], (5, 30, 25)))
    assert labels.max() == 3


def test_more_labels_than_a_byte_holds() -> None:
    many = {"background": 0, **{f"l{i}": i for i in range(1, 300)}}
    model = make_model(plan_spacing=THICK["plan"], labels=many)
    labels = assert_as_nnunet(model, random_logits(300, (2, 12, 10)), properties_of(model, THICK["image"], (2, 15, 12)))
    assert labels.dtype == np.uint16
    # Twelve values only: the first channels take every tie. A clear winner must survive, too.
    logits = random_logits(300, (2, 12, 10))
    logits[290] = 9
    assert (assert_as_nnunet(model, logits, properties_of(model, THICK["image"], (2, 15, 12))) == 290).all()


def test_regions_that_share_their_last_label_keep_their_order() -> None:
    for order in ([3, 1, 2], [2, 3, 1], [7, 300, 1]):
        model = make_model(plan_spacing=THICK["plan"], labels=REGIONS, regions_class_order=order)
        assert_as_nnunet(model, random_logits(3, (5, 24, 20)), properties_of(model, THICK["image"], (5, 30, 25)))


SKIMAGE = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


@pytest.mark.parametrize(
    ("function", "keywords", "axis"),
    [
        ("resample_data_or_seg_to_shape", {**SKIMAGE, "order": 3}, 0),
        ("resample_data_or_seg_to_shape", {**SKIMAGE, "order": 0}, 0),
        ("resample_data_or_seg_to_shape", {**SKIMAGE, "order_z": 1}, None),
        ("resample_data_or_seg_to_shape", {**SKIMAGE, "force_separate_z": False}, None),
        ("resample_data_or_seg_to_shape", {**SKIMAGE, "force_separate_z": True}, 0),
        ("resample_data_or_seg_to_shape", {**SKIMAGE, "separate_z_anisotropy_threshold": 20}, None),
        ("resample_data_or_seg_to_shape", {}, None),
        ("resample_torch_fornnunet", {"is_seg": False, "force_separate_z": None, "num_threads": 1}, None),
        ("resample_torch_fornnunet", {"is_seg": False, "force_separate_z": False, "num_threads": 1}, None),
    ],
)
@pytest.mark.parametrize("target", [(7, 30, 25), (4, 17, 14)])
def test_other_resamplings_of_nnunet(
    function: str, keywords: dict[str, Any], axis: int | None, target: tuple[int, ...]
) -> None:
    model = make_model(plan_spacing=THICKER["plan"], function=function, resampling=keywords, labels=LABELS)
    properties = properties_of(model, THICKER["image"], target)
    logits = random_logits(4, (5, 24, 20), seed=1)
    assert model.resampling(logits.shape[1:], properties).axis == axis
    assert_as_nnunet(model, logits, properties)


def test_a_plan_that_does_not_resample() -> None:
    model = make_model(plan_spacing=THICK["plan"], function="no_resampling_hack", resampling={}, labels=LABELS)
    assert_as_nnunet(model, random_logits(4, (5, 24, 20)), properties_of(model, THICK["image"], (5, 24, 20)))


def test_nan_and_infinity_count_as_in_numpy() -> None:
    random = np.random.default_rng(3)
    logits = random_logits(4, (5, 24, 20))
    for value in (np.nan, np.inf, -np.inf, -0.0):
        logits[random.random(logits.shape) < 0.2] = value
    model = make_model(plan_spacing=THICK["plan"], labels=LABELS)
    assert_as_nnunet(model, logits, properties_of(model, THICK["image"], (5, 24, 20)))


# ---- what is left to nnU-Net ------------------------------------------------------------------------------------


def test_unusual_plans_are_left_to_nnunet_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnLabels(LabelManager):
        pass

    def own_resampling(data: Any, *_: Any) -> Any:
        return data

    regions = {"labels": REGIONS, "regions_class_order": ORDER}
    seg = make_model(plan_spacing=THICK["plan"], resampling={**SKIMAGE, "is_seg": True}, labels=LABELS)
    assert seg.why_not_lean() == "the plan resamples probabilities as if they were label maps"
    softmax = make_model(plan_spacing=THICK["plan"], **regions)
    softmax.labels.inference_nonlin = torch.tanh
    assert softmax.why_not_lean() == "regions are not decided by a sigmoid"
    own = make_model(plan_spacing=THICK["plan"], labels=LABELS)
    labels = OwnLabels(LABELS, None)
    assert Model(plans=own.plans, configuration=own.configuration, labels=labels).why_not_lean() == (
        "the plan decides labels by OwnLabels"
    )
    monkeypatch.setattr(type(own.configuration), "resampling_fn_probabilities", own_resampling)
    assert "own_resampling" in str(own.why_not_lean())


# ---- the parts themselves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
def test_the_largest_is_numpys_argmax(count: int) -> None:
    logits = random_logits(5, (count,), dtype=np.float32)
    decision = Largest((count,), channels=5)
    for channel, values in enumerate(logits):
        decision.add(channel, torch.from_numpy(values))
    assert np.array_equal(decision.labels.numpy(), logits.argmax(0))


def test_the_last_region_above_one_half_wins() -> None:
    decision = LastRegion((4,), class_order=(5, 2))
    decision.add(0, torch.tensor([1.0, 1.0, -1.0, 0.0]))
    decision.add(1, torch.tensor([1.0, -1.0, 1.0, 0.0]))
    assert decision.labels.tolist() == [2, 5, 2, 0]


def test_a_slice_is_resampled_by_itself() -> None:
    """The point of it all: what is resampled at once is one slice of one channel."""
    model = make_model(plan_spacing=THICK["plan"], labels=LABELS)
    properties = properties_of(model, THICK["image"], (5, 30, 25))
    resampling = model.resampling((5, 24, 20), properties)
    assert resampling.function.func is resample_data_or_seg_to_shape
    assert resampling.slice_shape == (1, 30, 25)
    assert resampling.slice_of_channel(random_logits(4, (5, 24, 20)), 2, 3).shape == (1, 30, 25)
