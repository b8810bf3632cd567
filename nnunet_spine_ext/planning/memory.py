"""What one training step keeps in memory, counted from the tensors that autograd and torch themselves make.

Forward pass, loss, backward pass and optimizer run as in nnU-Net's `train_step`, on tensors without data. So the count
holds for any network and loss, needs no hand-written estimate and no GPU, and takes a fraction of a second.

Not counted: what is no tensor. On a GPU that is the CUDA context, the workspace of cuDNN and cuBLAS, and the rounding
and fragmentation of the caching allocator; `CUDA_OVERHEAD_BYTES` stands for all of it. torch.compile, nnU-Net's
default on GPUs, decides anew what to keep: see `benchmarks/compiled_memory.md` for how far that is from this count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nnunet_spine_ext.planning.backward import Backward, SavedTensors
from nnunet_spine_ext.planning.live import LiveBytes, storage_key
from nnunet_spine_ext.planning.simulation import (
    DEVICES,
    ConditionsHold,
    FusedAttention,
    Precision,
    build_fake,
    check_torch,
    cuda_autocast_available,
    data_free_errors_explained,
    fake_mode,
    training_autocast,
)

GB = 2**30
"""A GPU "with 8 GB" has 8 · 2^30 bytes; so has a target of 8 GB here."""

CUDA_OVERHEAD_BYTES = 12 * GB // 5
"""Assumed, not counted: CUDA context, convolution workspace, rounding and fragmentation of the allocator (2.4 GB).

Set so that "8 GB" means here what it means in nnU-Net, whose targets are readings of nvidia-smi. With it, nnU-Net's own
plans for thick sagittal slices (12×880×880, 20 classes) count as 7.9 GB (default 3d_fullres and default 2d alike), 8.9
(ResEnc M) and 21.4 (ResEnc L); nnU-Net publishes 7.7, 9.1 and 22.7 GB for those presets, for other datasets. It is an
allowance, not a measurement: cuDNN may take more for speed where there is more, and does with less where there is not.
"""

Loss = Callable[[Any, Any], torch.Tensor]
"""nnU-Net's form: (outputs, targets) → scalar; lists of both with deep supervision, else one tensor each."""


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Memory of one training step; all amounts in bytes."""

    patch_size: tuple[int, ...]
    batch_size: int
    precision: Precision
    weights: int
    """Parameters and buffers."""
    gradients: int
    optimizer: int
    """State that lives from step to step (momentum)."""
    weight_copies: int
    """Half-precision copies of the weights that autocast keeps for the backward pass."""
    inputs: int
    """Images and targets."""
    activations: int
    """What autograd saved between forward and backward pass, without weights, their copies and the inputs."""
    peak: int
    """The most that was alive at once, of everything above and of all temporary tensors."""
    overhead: int
    """Assumed for what is no tensor (`CUDA_OVERHEAD_BYTES` on a GPU)."""

    @property
    def total(self) -> int:
        """Return the bytes that the device must have."""
        return self.peak + self.overhead

    @property
    def total_gb(self) -> float:
        """Return the memory that the device must have, in GB of 2^30 bytes."""
        return self.total / GB


def count_training_memory(
    build: Callable[[], nn.Module],
    *,
    patch_size: Sequence[int],
    batch_size: int,
    input_channels: int,
    loss: Loss | None = None,
    target_channels: int | None = None,
    precision: Precision = "fp16",
    optimizer_state_per_parameter: int = 1,
) -> TrainingMemory:
    """Count the memory of one training step.

    Args:
        build: makes the network. It runs on tensors without data; deep supervision should be as in training.
        patch_size: voxels, in the network's axis order.
        batch_size: samples in the step.
        input_channels: channels of the image (with a cascade: and of the previous stage's labels).
        loss: called as nnU-Net calls it, loss(outputs, targets); `None` takes the sum of the outputs.
        target_channels: `None` for label maps (B, 1, …) of int16; a number for that many boolean regions (B, R, …).
        precision: "fp16" as nnU-Net trains on CUDA, "fp32" as on the CPU.
        optimizer_state_per_parameter: values that the optimizer keeps for each weight; 1 for SGD with momentum
            (nnU-Net), 2 for Adam.

    Raises:
        SetupError: this torch cannot count it on this machine.
        ValueError: from the network, if it cannot be built or cannot take the patch.
        PlanError: network or loss read tensor values in Python.
    """
    check_torch(precision)
    device, mode = DEVICES[precision], fake_mode()
    network = build_fake(build, mode, device=device)
    tensors = [*network.parameters(), *network.buffers()]
    trained = sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
    optimizer = optimizer_state_per_parameter * trained
    with mode, cuda_autocast_available(precision), data_free_errors_explained(type(network).__name__):
        image = torch.empty(batch_size, input_channels, *patch_size, device=device)
        with LiveBytes(weights=tensors) as live:
            weights = live.now
            live.reserve(optimizer)
            inputs = live.hold([image])
            step = _Step(network, image, live=live, loss=loss, target_channels=target_channels, precision=precision)
            gradients = step.backward()
            # The update runs when only outputs and gradients are left. On a GPU torch updates all weights at once and
            # needs temporary copies: one for SGD (gradient + weight decay), two for Adam, as many as it keeps states.
            update = live.now + optimizer
    return TrainingMemory(
        patch_size=tuple(patch_size),
        batch_size=batch_size,
        precision=precision,
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        weight_copies=step.weight_copies,
        inputs=inputs + step.target_bytes,
        activations=step.activations,
        peak=max(live.peak, update),
        overhead=CUDA_OVERHEAD_BYTES if precision == "fp16" else 0,
    )


class _Step:
    """Forward pass and loss (in the constructor), then the backward pass, counted."""

    def __init__(
        self,
        network: nn.Module,
        image: torch.Tensor,
        *,
        live: LiveBytes,
        loss: Loss | None,
        target_channels: int | None,
        precision: Precision,
    ) -> None:
        with training_autocast(precision), SavedTensors() as saved:
            with FusedAttention():
                outputs = network(image)
            peak_before_targets = live.peak
            targets = _targets(outputs, channels=target_channels, form=getattr(loss, "target_form", "each"))
            self.target_bytes = sum(t.untyped_storage().nbytes() for t in _tensors(targets))
            # In a training the targets are there from the start.
            live.peak = max(live.peak, peak_before_targets + self.target_bytes)
            with ConditionsHold():
                scalar = loss(outputs, targets) if loss is not None else _sum(outputs)
        given = {storage_key(t) for t in (*network.parameters(), *network.buffers(), image, *_tensors(targets))}
        self.weight_copies = sum(live.half_copies.values())
        # What lives on is kept for backward, but for outputs that nothing saved. (Not all of it passes the hooks of
        # `saved`: what a selective checkpoint keeps does so in newer torch alone.)
        unsaved = {storage_key(t) for t in (*_tensors(outputs), scalar)} - {storage_key(t) for t in saved.tensors()}
        alive = live.storages()
        self.activations = sum(alive[key] for key in alive.keys() - given - unsaved - live.half_copies.keys())
        self._backward = Backward(scalar, saved=saved)
        self._held = [image, targets, outputs, scalar]  # as nnU-Net's local variables are

    def backward(self) -> int:
        """Run the backward pass; return the bytes of the gradients."""
        self._backward.run()
        return sum(g.numel() * g.element_size() for _, g in self._backward.gradients)


def _tensors(outputs: Any) -> list[torch.Tensor]:  # noqa: ANN401  (a tensor or any sequence of tensors)
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def _targets(outputs: Any, *, channels: int | None, form: str) -> Any:  # noqa: ANN401
    """Return what nnU-Net's loaders make for these outputs.

    `form`: "each", a target for each output in the same arrangement; "tensor", one for all; "list of one", that in a
    list. A loss of ours says which it takes (`target_form`); nnU-Net's take "each".
    """
    count, dtype = (1, torch.int16) if channels is None else (channels, torch.bool)
    wanted = _tensors(outputs) if form == "each" else _tensors(outputs)[:1]
    made = [o.new_empty((o.shape[0], count, *o.shape[2:]), dtype=dtype) for o in wanted]
    return made[0] if isinstance(outputs, torch.Tensor) or form == "tensor" else made


def _sum(outputs: Any) -> torch.Tensor:  # noqa: ANN401
    return torch.stack([output.float().sum() for output in _tensors(outputs)]).sum()
