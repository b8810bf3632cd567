"""nnU-Net's whole pipeline on a batch: window by window the same, in distribution the same, all on one device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from scipy.stats import ks_2samp
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from nnunet_spine_ext.training.gpu_augmentation import intensity, spatial
from nnunet_spine_ext.training.gpu_augmentation.pipeline import BatchPipeline, NoBatchFormError, Step
from nnunet_spine_ext.training.gpu_augmentation.windows import Drawn, Windows
from tests.training.gpu_augmentation.library import CPU, Recorder, batch_of, seed

SCALES = [[1.0, 1.0, 1.0], [1.0, 0.5, 0.5]]


def stock_pipeline(
    *, dims: int = 3, dummy_2d: bool = False, masked: bool = False, regions: list[Any] | None = None, **more: Any
) -> Any:
    """nnU-Net's own transforms for a patch of 12 (x 12) voxels, or of 6 slices."""
    patch = (12, 12) if dims == 2 else ((6, 12, 12) if dummy_2d else (12, 12, 12))
    scales = [scale[3 - dims :] for scale in SCALES]
    return nnUNetTrainer.get_training_transforms(
        patch,
        (-math.pi / 6, math.pi / 6),
        scales,
        tuple(range(dims)),
        dummy_2d,
        use_mask_for_norm=[masked, False],
        regions=regions,
        **more,
    )


PIPELINES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "2d": (lambda: stock_pipeline(dims=2), (17, 17)),
    "3d": (stock_pipeline, (17, 17, 17)),
    "3d, slices turned in plane": (lambda: stock_pipeline(dummy_2d=True), (6, 17, 17)),
    "mask": (lambda: stock_pipeline(dims=2, masked=True), (17, 17)),
    "regions": (lambda: stock_pipeline(dims=2, regions=[[1, 2, 3], [2]], ignore_label=3), (17, 17)),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_with_the_same_parameters_the_library_makes_the_same_windows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The noise itself is drawn where the batch is: here it is left out on both sides, its size is another test's.
    monkeypatch.setattr(intensity.torch, "randn", lambda *shape, **kwargs: torch.zeros(*shape, **kwargs))
    make, window = PIPELINES[name]
    changed = 0
    for number in range(12):
        seed(number)
        batch = batch_of(*window, windows=4, seed_of=number)
        recorder = Recorder(BatchPipeline(make()))
        result = recorder.run(batch)
        changed += sum(len(drawn) for _, drawn in recorder.drawn)
        for _, drawn in recorder.drawn:
            for parameters in drawn.values():
                if "num_apply" in parameters:
                    parameters["num_apply"] = 0  # type: ignore[index]  (the library then adds none)
        for index, expected in enumerate(recorder.replay(batch)):
            torch.testing.assert_close(result["data"][index], expected["image"], atol=1e-4, rtol=0)
            for target, wanted in zip(result["target"], expected["segmentation"], strict=True):
                assert torch.equal(target[index], wanted)
                assert target.dtype == wanted.dtype
    assert changed > 12 * 4 * 5


FACTS: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "mean": lambda image, _: float(image.mean()),
    "deviation": lambda image, _: float(image.std()),
    "least": lambda image, _: float(image.min()),
    "most": lambda image, _: float(image.max()),
    "roughness": lambda image, _: float(image.diff(dim=-1).abs().mean()),
    "skewness": lambda image, _: float(((image - image.mean()) ** 3).mean()),
    "corner": lambda image, _: float(image[..., :4, :4].mean()),
    "volume of a label": lambda _, labels: float((labels == 1).float().mean()),
    "row of a label": lambda _, labels: float((labels == 1).nonzero()[:, -2].float().mean().nan_to_num(-1.0)),
    "column of a label": lambda _, labels: float((labels == 1).nonzero()[:, -1].float().mean().nan_to_num(-1.0)),
}


def phantom() -> dict[str, Any]:
    """One window with a bright box off the middle, the same for every draw."""
    image = torch.zeros(1, 32, 32)
    image[:, 6:15, 12:28] = 2.0
    image += 0.3 * torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, 32, 32, dtype=torch.int16)
    labels[:, 6:15, 12:28] = 1
    return {"image": image, "segmentation": labels}


def test_windows_are_distributed_as_the_librarys() -> None:
    pipeline = nnUNetTrainer.get_training_transforms((24, 24), (-math.pi, math.pi), None, (0, 1), False, [False])
    count = 1200
    seed(1)
    theirs = [pipeline(**{name: value.clone() for name, value in phantom().items()}) for _ in range(count)]
    seed(2)
    one = phantom()
    batch = {
        "data": one["image"].expand(count, -1, -1, -1),
        "target": one["segmentation"].expand(count, -1, -1, -1),
        "keys": [],
    }
    ours = BatchPipeline(pipeline)(batch, CPU)
    for name, fact in FACTS.items():
        # Windows that nothing was done to are many and alike: their last digits must not tell them apart.
        left = [round(fact(window["image"], window["segmentation"]), 3) for window in theirs]
        right = [round(fact(image, labels), 3) for image, labels in zip(ours["data"], ours["target"], strict=True)]
        # Ten facts with fixed seeds: a p of 0.001 is met by chance in one of a hundred such tests.
        assert ks_2samp(left, right).pvalue > 1e-3, name
        assert np.std(left) > 0, name


def test_no_step_mixes_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes and devices as on a GPU, without one: torch's fake tensors refuse an operation on two devices."""
    monkeypatch.setattr(spatial, "labels_present", lambda labels: [[[-1, 0, 1]] * labels.shape[1]] * len(labels))
    monkeypatch.setattr(Step, "draw", really(Step.draw))
    cuda = torch.device("cuda", 0)
    for number, (make, window) in enumerate(PIPELINES.values()):
        seed(number)
        for pipeline in [BatchPipeline(make()) for _ in range(4)]:
            always(pipeline)
            with FakeTensorMode(allow_non_fake_inputs=True):
                data = torch.empty(3, 2, *window, device=cuda)
                target = torch.empty(3, 1, *window, dtype=torch.int16, device=cuda)
                result = pipeline({"data": data, "target": target, "keys": []}, cuda)
                assert {result["data"].device, *(target.device for target in result["target"])} == {cuda}


def really(draw: Callable[[Step, Windows], Drawn]) -> Callable[[Step, Windows], Drawn]:
    """Draw real numbers: those are on the CPU in any case."""

    def drawn(step: Step, windows: Windows) -> Drawn:
        with unset_fake_temporarily():
            return draw(step, windows)

    return drawn


def always(pipeline: BatchPipeline) -> None:
    for step in pipeline.steps:
        if step.chance is not None:
            step.chance.apply_probability = 1
        if hasattr(step.source, "p_rotation"):
            step.source.p_rotation = 1  # type: ignore[attr-defined]


def test_a_cascade_stays_with_the_workers() -> None:
    pipeline = stock_pipeline(is_cascaded=True, foreground_labels=[1, 2])
    with pytest.raises(NoBatchFormError, match="MoveSegAsOneHotToDataTransform has no form"):
        BatchPipeline(pipeline)


@pytest.mark.gpu
@pytest.mark.parametrize("name", PIPELINES)
def test_a_gpu_makes_the_windows_of_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity.torch, "randn", lambda *shape, **kwargs: torch.zeros(*shape, **kwargs))
    make, window = PIPELINES[name]
    results = []
    for device in ("cpu", "cuda"):
        seed(5)
        results.append(BatchPipeline(make())(batch_of(*window, windows=8), torch.device(device)))
    here, there = results
    torch.testing.assert_close(there["data"].cpu(), here["data"], atol=1e-3, rtol=0)
    for left, right in zip(here["target"], there["target"], strict=True):
        # A voxel between two labels may fall either way where the last digit differs.
        assert (left == right.cpu()).float().mean() > 0.999
