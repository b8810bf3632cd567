"""The networks that hybrid_literal.py compares, and what each is trained on.

From the literal reading of paper 000 (`paper000_reference.py`) to SpineHybrid, one difference a step; and SpineHybrid
beside nnU-Net's PlainConvUNet, both on nnU-Net's own plan for a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from measuring import TrainingStep
from paper000_reference import LiteralHybrid
from torch import nn

from nnunet_spine_ext.networks.default_plan import default_architecture
from nnunet_spine_ext.networks.hybrid import PAPER_OPTIONS, HybridOptions, SpineHybrid, paper_architecture
from nnunet_spine_ext.planning.losses import nnunet_loss
from nnunet_spine_ext.planning.memory import Loss

Build = Callable[[], nn.Module]
CLASSES = 20
PLAN_LAYERS: Mapping[str, Any] = {
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network is trained on."""

    patch: tuple[int, ...]
    batch: int
    classes: int
    loss: Loss


def mean_square(outputs: Any, _: object) -> torch.Tensor:  # noqa: ANN401  (as nnU-Net's losses)
    """Return a regression's loss against zero: it keeps what any regression's keeps."""
    result: torch.Tensor = (outputs.float() ** 2).mean()
    return result


def regression(patch: tuple[int, ...], batch: int) -> Task:
    """Return paper 000's task: one map out."""
    return Task(patch=patch, batch=batch, classes=2, loss=mean_square)


def segmentation(patch: tuple[int, ...], batch: int) -> Task:
    """Return nnU-Net's task."""
    outputs = default_architecture(patch)["n_stages"] - 1
    return Task(patch=patch, batch=batch, classes=CLASSES, loss=nnunet_loss(deep_supervision_outputs=outputs))


def hybrid(options: HybridOptions, *, width: int) -> Build:
    """Return SpineHybrid with the paper's stages and widths, one output."""

    def build() -> nn.Module:
        words = {**paper_architecture(width), **PLAN_LAYERS}
        return SpineHybrid(input_channels=1, num_classes=1, options=replace(options, width=width), **words)

    return build


def steps_between(width: int, patch: tuple[int, ...]) -> dict[str, Build]:
    """Return the networks from the literal reading to SpineHybrid, each with one more of its differences."""
    kept = replace(PAPER_OPTIONS, recompute=False)
    separable = replace(PAPER_OPTIONS, hanc_form="separable")
    return {
        "literal reading": lambda: LiteralHybrid(width=width, patch=patch),
        "norm weights per channel, defects mended, no concatenation": hybrid(kept, width=width),
        "+ poolings and shortcuts again in backward": hybrid(PAPER_OPTIONS, width=width),
        "+ separable link": hybrid(separable, width=width),
        "+ depthwise 7x7, recomputed": hybrid(replace(separable, ux_variant="depthwise"), width=width),
        "SpineHybrid (+ the plan's norm and nonlinearity, 7x7 stem)": hybrid(HybridOptions(), width=width),
    }


def stock(patch: tuple[int, ...], *, share: float = 1.0) -> Build:
    """Return nnU-Net's own network on its plan for the patch, its widths times `share`."""

    def build() -> nn.Module:
        words = dict(default_architecture(patch))
        words["features_per_stage"] = [int(n * share) for n in words["features_per_stage"]]
        network: nn.Module = PlainConvUNet(input_channels=1, num_classes=CLASSES, deep_supervision=True, **words)
        return network

    return build


def planned_hybrid(patch: tuple[int, ...], *, options: HybridOptions | None = None) -> Build:
    """Return SpineHybrid on nnU-Net's plan for the patch."""

    def build() -> nn.Module:
        words = default_architecture(patch)
        return SpineHybrid(input_channels=1, num_classes=CLASSES, deep_supervision=True, options=options, **words)

    return build


def beside_stock(patch: tuple[int, ...]) -> dict[str, Build]:
    """Return nnU-Net's network as planned, with as many weights as the hybrid, and the hybrid."""
    share = 0.75  # of the widths: 32.1 M weights on the default plan, where the hybrid has 30.9 M
    return {
        "PlainConvUNet": stock(patch),
        "PlainConvUNet, widths x 0.75": stock(patch, share=share),
        "SpineHybrid": planned_hybrid(patch),
    }


def step_of(build: Build, task: Task, *, device: str) -> TrainingStep:
    """Return a real training step."""
    torch.manual_seed(0)
    return TrainingStep(
        build(), patch=task.patch, batch=task.batch, classes=task.classes, loss=task.loss, device=device
    )
