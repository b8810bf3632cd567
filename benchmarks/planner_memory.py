"""Predicted against measured memory of a training step, for three plans.

    python benchmarks/planner_memory.py  >  benchmarks/planner_memory.md   # CPU: small patches, full precision
    python benchmarks/planner_memory.py --device cuda    # GPU: the plans themselves, mixed precision, as nnU-Net trains

On the CPU two things are measured in a real step: the storages that autograd saved, and the most that torch's
allocator had handed out at once (torch.profiler). On a GPU it is `torch.cuda.max_memory_allocated` over complete
steps (forward pass, loss, gradient scaler, clipping, SGD), beside what the allocator reserved and the driver reports.
The planner's allowance for CUDA (`CUDA_OVERHEAD_BYTES`) is for the difference between allocated and the driver's
figure; the error in per cent is of the peak of all tensors.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from measuring import MB, machine, size, table
from torch import nn

from nnunet_spine_ext.networks.registry import build
from nnunet_spine_ext.planning.losses import nnunet_loss
from nnunet_spine_ext.planning.memory import Loss, TrainingMemory, count_training_memory
from nnunet_spine_ext.planning.real_step import RealStep

CLASSES = 20
WIDTHS = {2: (32, 64, 128, 256, 512, 512, 512, 512), 3: (32, 64, 128, 256, 320, 320, 320, 320)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One configuration: what it is called, and nnU-Net's words for it."""

    name: str
    network: str
    """A registry name, or "plain" for nnU-Net's own."""
    patch: tuple[int, ...]
    cpu_patch: tuple[int, ...]
    """The same stages on a patch that a CPU can train in seconds."""
    batch: int
    strides: tuple[tuple[int, ...], ...]

    @property
    def outputs(self) -> int:
        """Return the number of decoder outputs."""
        return len(self.strides) - 1

    def words(self) -> dict[str, Any]:
        """Return the arguments of the network."""
        dims, stages = len(self.patch), len(self.strides)
        norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims]
        return {
            "n_stages": stages,
            "features_per_stage": WIDTHS[dims][:stages],
            "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[dims],
            # nnU-Net: kernel 1 across thick slices until the in-plane spacing has come near.
            "kernel_sizes": tuple((1, 3, 3) if dims == 3 and i < 3 else (3,) * dims for i in range(stages)),
            "strides": self.strides,
            "n_conv_per_stage": (2,) * stages,
            "n_conv_per_stage_decoder": (2,) * (stages - 1),
            "conv_bias": True,
            "norm_op": norm,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
        }

    def build(self) -> nn.Module:
        """Return the network with deep supervision."""
        if self.network == "plain":
            network: nn.Module = PlainConvUNet(
                input_channels=1, num_classes=CLASSES, deep_supervision=True, **self.words()
            )
            return network
        return build(self.network, self.words(), input_channels=1, num_classes=CLASSES, deep_supervision=True)


def _in_plane(times: int) -> tuple[tuple[int, ...], ...]:
    return ((1, 1, 1), *((1, 2, 2),) * times)


PLANS = (
    Plan(
        name="hybrid 12x128x128, the paper's window",
        network="hybrid",
        patch=(12, 128, 128),
        cpu_patch=(12, 64, 64),
        batch=2,
        strides=((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2)),
    ),
    Plan(
        name="plain 6x512x512, nnU-Net's default for MRSpineSeg",
        network="plain",
        patch=(6, 512, 512),
        cpu_patch=(6, 128, 128),
        batch=2,
        strides=_in_plane(5),
    ),
    Plan(
        name="hybrid 2d 896x896",
        network="hybrid",
        patch=(896, 896),
        cpu_patch=(192, 192),
        batch=2,
        strides=((1, 1), *((2, 2),) * 5),
    ),
)


def real_step(plan: Plan, *, patch: tuple[int, ...], loss: Loss, device: str) -> RealStep:
    """Return a step of one plan with data."""
    return RealStep(plan.build(), patch=patch, batch=plan.batch, classes=CLASSES, loss=loss, device=device)


def cuda_bytes(step: RealStep, *, steps: int = 3) -> tuple[int, int, int]:
    """Return (peak allocated, peak reserved, in use by the driver's count) over complete steps."""
    torch.backends.cudnn.benchmark = True  # as nnU-Net trains
    optimizer = torch.optim.SGD(step.network.parameters(), 1e-2, weight_decay=3e-5, momentum=0.99, nesterov=True)
    scaler = torch.amp.GradScaler("cuda")
    for i in range(steps):
        if i == 1:  # momentum exists from the second step on, and cuDNN has chosen its algorithms
            torch.cuda.reset_peak_memory_stats()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda"):
            outputs, loss = step.forward()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        del outputs
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(step.network.parameters(), 12)
        scaler.step(optimizer)
        scaler.update()
    free, total = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved(), total - free


def predict(plan: Plan, *, patch: tuple[int, ...], loss: Loss, device: str) -> TrainingMemory:
    """Return what the planner counts, with the optimizer's state only where the measurement has it."""
    return count_training_memory(
        plan.build,
        patch_size=patch,
        batch_size=plan.batch,
        input_channels=1,
        loss=loss,
        precision="fp16" if device == "cuda" else "fp32",
        optimizer_state_per_parameter=1 if device == "cuda" else 0,
    )


def _line(plan: str, what: str, predicted: float, measured: float) -> list[str]:
    error = 100 * (predicted - measured) / measured
    return [plan, what, f"{predicted / MB:.2f}", f"{measured / MB:.2f}", f"{error:+.3f} %"]


def on_cpu(plan: Plan, loss: Loss) -> list[list[str]]:
    """Return the lines for one plan on the CPU."""
    memory = predict(plan, patch=plan.cpu_patch, loss=loss, device="cpu")
    step = real_step(plan, patch=plan.cpu_patch, loss=loss, device="cpu")
    saved, peak = step.saved_bytes(), step.cpu_peak_bytes()
    name = f"{plan.name}; here {size(plan.cpu_patch)}, batch {plan.batch}, full precision"
    return [
        _line(name, "saved by autograd", memory.activations, saved),
        _line("", "peak of all tensors", memory.peak, peak),
    ]


def on_gpu(plan: Plan, loss: Loss) -> list[list[str]]:
    """Return the lines for one plan on a GPU."""
    memory = predict(plan, patch=plan.patch, loss=loss, device="cuda")
    allocated, reserved, driver = cuda_bytes(real_step(plan, patch=plan.patch, loss=loss, device="cuda"))
    gc.collect()
    torch.cuda.empty_cache()
    name = f"{plan.name}; {size(plan.patch)}, batch {plan.batch}, mixed precision"
    return [
        _line(name, "peak of all tensors: max_memory_allocated", memory.peak, allocated),
        _line("", "with the planner's allowance: by the driver", memory.total, driver),
        _line("", "with the planner's allowance: reserved by torch", memory.total, reserved),
    ]


def main() -> None:
    """Print predicted and measured memory of every plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="one plan")
    given = parser.parse_args()
    torch.set_num_threads(1)  # with more, CPU convolutions allocate a buffer for each, which no GPU has
    lines: Callable[[Plan, Loss], list[list[str]]] = on_gpu if given.device == "cuda" else on_cpu
    plans = PLANS[:1] if given.quick else PLANS
    rows = [row for plan in plans for row in lines(plan, nnunet_loss(deep_supervision_outputs=plan.outputs))]
    print("# Memory of a training step: predicted by the planner, and measured")
    print("\n    python benchmarks/planner_memory.py\n")
    print(table(["plan", "what", "predicted, MB", "measured, MB", "error"], rows))
    if given.device == "cpu":
        print("\nMeasured in a real step on the CPU. Not compared with a GPU's own figure: none was at hand.")
    print(f"\n{machine(given.device)}")


if __name__ == "__main__":
    main()
