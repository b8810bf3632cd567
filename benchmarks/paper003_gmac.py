"""The twelve networks of paper 003 at its own input: weights and arithmetic, counted here and printed there.

    python benchmarks/paper003_gmac.py     # seconds on a CPU; prints the table and writes benchmarks/paper003_gmac.md

Each network is the preset that comes nearest to the paper's table, built by the registry, for one slice of 880 x 880
with one channel and 20 classes, on the meta device. Two counts are made of one forward pass:

* GMAC: 10^9 multiply-accumulates, half of what torch's FlopCounterMode counts; attention's matrix products included;
* as printed: what a counter sees that looks at modules: the products of convolutions and linear layers, and two
  operations for each value that a BatchNorm gives. It misses products that are no module's. That the paper counted so
  is inferred: eight of its twelve numbers are this count to 0.5 %, MiniSeg's to the digits printed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.networks.published import PAPER_003_COSTS
from nnunet_spine_ext.networks.registry import build_preset

SIZE = 880
TARGET = Path(__file__).with_suffix(".md")

ATTENTION = frozenset({"aten.bmm", "aten.baddbmm", "aten._scaled_dot_product_flash_attention",
                       "aten._scaled_dot_product_flash_attention_for_cpu",
                       "aten._scaled_dot_product_efficient_attention"})  # fmt: skip
"""Products of two activations, which belong to no module."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A line of paper 003's table 3 (Zhou et al., ICMR 2022) and the preset that comes nearest to it."""

    name: str
    backbone: str
    row: str
    """Of the registry."""
    arguments: Mapping[str, Any]
    """Of the row's preset."""
    remark: str

    @property
    def parameters(self) -> str:
        """Of the paper, as printed there."""
        return PAPER_003_COSTS[self.row].parameters

    @property
    def gflops(self) -> float:
        """Of the paper, as printed there."""
        return PAPER_003_COSTS[self.row].gmac


_UNET = {"input_channels": 1, "num_classes": 20}

TABLE_3 = (
    Published(
        name="U-Net", backbone="", row="unet-003",
        arguments={"network": "unet-003", **_UNET},
        remark="widths 64 to 512, a fifth stage of 512, linear up-sampling",
    ),
    Published(
        name="PSPNet", backbone="ResNet101", row="pspnet",
        arguments={"encoder": "resnet34", "head": "progressive"},
        remark="the table's backbone is wrong: ResNet-34 at stride 8 has these numbers, ResNet-101 65.6 M",
    ),
    Published(
        name="DeepLabv3+", backbone="ResNet101", row="deeplabv3plus", arguments={},
        remark="output stride 16, plain instead of separable convolutions",
    ),
    Published(
        name="DenseASPP", backbone="DenseNet169", row="denseaspp", arguments={},
        remark="output stride 16, brought to 1/8 before the dilated layers",
    ),
    Published(
        name="Attention U-Net", backbone="", row="attention-unet",
        arguments={"network": "attention-unet", **_UNET},
        remark="widths 64 to 1024, in 2D",
    ),
    Published(
        name="DANet", backbone="ResNet101", row="danet",
        arguments={"output_stride": 32},
        remark="an encoder without dilation (stride 32), where the original has stride 8",
    ),
    Published(
        name="EMANet", backbone="ResNet101", row="emanet", arguments={},
        remark="stem of three convolutions, stride 8",
    ),
    Published(
        name="Inf-Net", backbone="Res2Net101", row="infnet", arguments={},
        remark="arithmetic not reproduced: how the paper made it multi-class is not published",
    ),
    Published(
        name="MiniSeg", backbone="", row="miniseg", arguments={},
        remark="without the further heads of training; with them 85 K",
    ),
    Published(
        name="PSANet", backbone="ResNet101", row="psanet",
        arguments={"patch_size": (SIZE, SIZE)},
        remark="arithmetic not reproduced by any stride: 830 at 8, 220 at 16; only stride 8 has these weights",
    ),
    Published(
        name="ResUNet++", backbone="", row="resunetpp", arguments={"form": "paper003"},
        remark="a public re-implementation of widths 32 to 512; the authors' own has 4.1 M",
    ),
    Published(
        name="TransUNet", backbone="", row="transunet",
        arguments={"patch_size": (SIZE, SIZE)},
        remark="neither number reproduced: position embeddings of the native 55 x 55 tokens give 107.4 M",
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A network as counted here."""

    parameters: int
    gmac: float
    as_printed: float


def count(row: str, arguments: Mapping[str, Any]) -> Counted:
    """Return what a preset has and does for one slice."""
    normed = 0

    def add(_module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401
        nonlocal normed
        normed += math.prod(output.shape)

    with torch.device("meta"):
        network = build_preset(row, arguments).eval()
        image = torch.empty(1, 1, SIZE, SIZE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(add)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    operations = {str(name): flops / 2 for name, flops in counter.get_flop_counts()["Global"].items()}
    in_modules = sum(macs for name, macs in operations.items() if name not in ATTENTION)
    return Counted(
        parameters=sum(p.numel() for p in network.parameters()),
        gmac=sum(operations.values()) / 1e9,
        as_printed=(in_modules + 2 * normed) / 1e9,
    )


HEADER = ("network", "backbone in the paper", "weights in the paper", "weights here", "GFLOPs in the paper",
          "as printed, here", "difference", "GMAC here", "remark")  # fmt: skip


def cells(published: Published) -> tuple[str, ...]:
    """Return a line of the table."""
    counted = count(published.row, published.arguments)
    return (
        published.name,
        published.backbone or "–",
        published.parameters,
        f"{counted.parameters:,}",
        f"{published.gflops:.2f}",
        f"{counted.as_printed:.2f}",
        f"{counted.as_printed / published.gflops - 1:+.1%}",
        f"{counted.gmac:.2f}",
        published.remark,
    )


def table() -> str:
    """Return everything as Markdown."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(cells(published) for published in TABLE_3)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    intro = (
        "# Paper 003, table 3, counted again\n\n"
        f"One slice of {SIZE} x {SIZE}, one channel, 20 classes; written by `benchmarks/paper003_gmac.py`, which says "
        'what is counted.\nWhat the paper calls FLOPs are multiply-accumulates. "As printed" counts the products of '
        "convolutions and linear layers\nand two operations for each value of a BatchNorm, which the paper's counter "
        "seems to have done; GMAC counts all products of\ntensors and nothing else. Left in the difference: "
        "interpolations and poolings.\n"
    )
    return "\n".join([intro, *lines, ""])


if __name__ == "__main__":
    text = table()
    print(text)
    TARGET.write_text(text)
