"""SpineUXNet: 3D UX-Net (Lee et al., ICLR 2023, arXiv:2209.15076) on any plan; a parent of paper 000's hybrid.

    input ──────────────────────────────── residual block ── concat → residual block ×2 → 1x1 head
      └ 7x7x7, strided → norm → UX blocks → norm → residual block ── concat → residual block ← up ┘ …
           └ norm → 2x2x2, strided → UX blocks → norm → residual block ── …

An encoder of large depthwise kernels (`blocks/ux.py`), after Swin and ConvNeXt, and a decoder of residual blocks, after
UNETR. The encoder's width at a stage is half of what the residual block behind it makes of it: of the published 53.0
million weights, 1.3 are the encoder's.

Written from the paper and from published counts; nothing is copied.

What differs from the published code: a head at every resolution, for deep supervision; its last layer was bound to a
width of 48.

What the words of a plan mean here:
 - `features_per_stage`: widths of the decoder; stage s of the encoder has the width of stage s - 1.
 - `kernel_sizes[s]`: of the residual blocks of stage s. On an axis where it is more than 1, the UX blocks of the stage
   have the large kernel, so that thick slices are mixed where nnU-Net would mix them.
 - `strides[s]`: of the convolution that leads to stage s. Its kernel is its stride; on an axis that it does not stride,
   the plan's. The first has the large kernel instead.
 - `n_conv_per_stage[s]`: UX blocks of stage s (the paper has 2); without effect at stage 0, which has a residual block.
 - `n_conv_per_stage_decoder`: a residual block stands for two convolutions.
 - `norm_op`, `nonlin`, `dropout_op`, `conv_bias`: of the residual blocks. The encoder has LayerNorm over channels and
   GELU; the plan's dropout acts on the branch of each UX block.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape, same_padding
from nnunet_spine_ext.networks.blocks.channel_norm import ChannelNorm
from nnunet_spine_ext.networks.blocks.depthwise import ChannelsLastPlaneDepthwise
from nnunet_spine_ext.networks.blocks.layers import Conv, Layers
from nnunet_spine_ext.networks.blocks.residual_pair import ResidualPair
from nnunet_spine_ext.networks.blocks.ux import UXBlock
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, PlannedOptions, plain_words
from nnunet_spine_ext.networks.ux_net_options import UXNetOptions

__all__ = ["SpineUXNet", "UXNetOptions", "paper_architecture", "paper_ux_net"]


class SpineUXNet(PlannedNetwork):
    """3D UX-Net for any plan of nnU-Net, 2D and 3D (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = UXNetOptions
    options: UXNetOptions

    def build(self, plan: Planned) -> None:
        """Make encoder and decoder."""
        self.encoder = UXEncoder(plan, options=self.options)
        self.decoder = UXDecoder(plan, options=self.options)


class PlanUXBlock(UXBlock):
    """The UX block with a kernel for each axis of the plan."""

    def __init__(
        self, channels: int, kernel: Shape, *, layers: Layers, layer_scale: float, recompute: bool = True
    ) -> None:
        super().__init__(channels, layers=layers, kernel=1, layer_scale=layer_scale, recompute=recompute)
        self.conv = _depthwise(channels, kernel)


def _depthwise(channels: int, kernel: Shape) -> Conv:
    if len(kernel) == 3 and kernel[0] == 1:
        return ChannelsLastPlaneDepthwise(channels, kernel, bias=True)
    op: type[Conv] = nn.Conv3d if len(kernel) == 3 else nn.Conv2d
    padding = same_padding(kernel)
    return op(channels, channels, kernel, padding=padding, groups=channels)  # type: ignore[arg-type]


class UXEncoder(nn.Module):
    """Large-kernel stages, and behind each of them a residual block that gives the features of the plan's width."""

    def __init__(self, plan: Planned, *, options: UXNetOptions) -> None:
        super().__init__()
        self.downs, self.stages = nn.ModuleList(), nn.ModuleList()
        self.outputs = nn.ModuleList([_residual(plan, options, plan.input_channels, stage=0)])
        for stage in range(1, plan.bottom + 1):
            width = plan.features[stage - 1]
            self.downs.append(_down(plan, options, stage=stage))
            self.stages.append(nn.Sequential(*(_block(plan, options, stage=stage) for _ in range(plan.convs[stage]))))
            self.outputs.append(nn.Sequential(ChannelNorm(width), _residual(plan, options, width, stage=stage)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of every stage for x (B, C, ...), highest resolution first."""
        features = [self.outputs[0](x)]
        for down, stage, output in zip(self.downs, self.stages, self.outputs[1:], strict=True):
            x = stage(down(x))
            features.append(output(x))
        return features


def _down(plan: Planned, options: UXNetOptions, *, stage: int) -> nn.Sequential:
    """Return the convolution that leads to a stage of the encoder, with its norm."""
    width, stride, layers = plan.features[stage - 1], plan.strides[stage], plan.layers
    if stage == 1:
        # At least 3 where it strides: a kernel of 1 would leave out every second slice.
        kernel = tuple(max(k, 3) if s > 1 else k for k, s in zip(_large(plan, options, stage), stride, strict=True))
        return nn.Sequential(layers.conv(plan.input_channels, width, kernel, stride=stride), ChannelNorm(width))
    inputs = plan.features[stage - 2]
    return nn.Sequential(ChannelNorm(inputs), _patch_conv(inputs, width, plan.kernels[stage], stride=stride))


def _patch_conv(inputs: int, outputs: int, kernel: Shape, *, stride: Shape) -> nn.Module:
    """Return a convolution whose kernel is its stride; where that is 1, the plan's, and the size stays."""
    op: type[nn.Module] = nn.Conv3d if len(stride) == 3 else nn.Conv2d
    taps = tuple(s if s > 1 else k for k, s in zip(kernel, stride, strict=True))
    padding = tuple(0 if s > 1 else k // 2 for k, s in zip(kernel, stride, strict=True))
    return op(inputs, outputs, taps, stride, padding)


def _large(plan: Planned, options: UXNetOptions, stage: int) -> Shape:
    return tuple(options.kernel if k > 1 else 1 for k in plan.kernels[stage])


def _block(plan: Planned, options: UXNetOptions, *, stage: int) -> nn.Module:
    width = plan.features[stage - 1]
    if options.block == "identity":
        return nn.Identity()
    if options.block == "conv":
        return ResidualPair(width, width, plan.kernels[stage], layers=plan.layers, recompute=options.recompute)
    return PlanUXBlock(
        width,
        _large(plan, options, stage),
        layers=plan.layers,
        layer_scale=options.layer_scale,
        recompute=options.recompute,
    )


class UXDecoder(nn.Module):
    """Transposed convolution, concatenation and residual blocks for every stage, and linear heads.

    Modules are in the order of computation (lowest resolution first), as in nnU-Net's own decoder. Which heads there
    are is an option; the state does not depend on deep supervision.
    """

    def __init__(self, plan: Planned, *, options: UXNetOptions) -> None:
        super().__init__()
        self.deep_supervision = plan.deep_supervision
        self.ups, self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage, convs in zip(range(plan.bottom - 1, -1, -1), plan.convs_up, strict=True):
            width = plan.features[stage]
            self.ups.append(plan.layers.transposed(plan.features[stage + 1], width, stride=plan.strides[stage + 1]))
            self.stages.append(_decoder_stage(plan, options, stage=stage, convs=convs))
            if stage == 0 or options.heads == "every":
                self.seg_layers.append(plan.layers.pointwise(width, plan.num_classes))

    def forward(self, features: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return logits for the encoder's features (highest resolution first).

        Returns:
            (B, K, ...) at the input's size; with deep supervision a list, highest resolution first.
        """
        x = features[-1]
        logits: list[Tensor] = []
        for i, (up, stage) in enumerate(zip(self.ups, self.stages, strict=True)):
            x = stage(up(x), features[-2 - i])
            if self.deep_supervision:
                logits.append(self.seg_layers[i](x))
        return logits[::-1] if self.deep_supervision else self.seg_layers[-1](x)


class _DecoderStage(nn.Sequential):
    """Residual blocks, the first of them on several maps side by side."""

    def forward(self, x: Tensor, *skip: Tensor) -> Tensor:
        """Return the stage's output for x and `skip`, each (B, C, ...)."""
        first, *more = self
        result: Tensor = first(x, *skip)
        for block in more:
            result = block(result)
        return result


def _decoder_stage(plan: Planned, options: UXNetOptions, *, stage: int, convs: int) -> _DecoderStage:
    """Return the residual blocks of a decoder stage; the full resolution has one more."""
    width = plan.features[stage]
    blocks = (convs + 1) // 2 + (stage == 0)
    return _DecoderStage(*(_residual(plan, options, width if i else 2 * width, stage=stage) for i in range(blocks)))


def _residual(plan: Planned, options: UXNetOptions, inputs: int, *, stage: int) -> ResidualPair:
    """Return a residual block that gives the width of a stage of the plan."""
    return ResidualPair(
        inputs, plan.features[stage], plan.kernels[stage], layers=plan.layers, recompute=options.recompute
    )


def paper_architecture() -> dict[str, Any]:
    """Return the words of the published network: isotropic 3D, four poolings, widths 48 to 768, two blocks a stage."""
    return {
        **plain_words((48, 96, 192, 384, 768), dims=3),
        "conv_bias": False,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"affine": False},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"negative_slope": 0.01, "inplace": True},
    }


def paper_ux_net(*, input_channels: int = 1, num_classes: int = 5) -> SpineUXNet:
    """Return the published network: 53,006,069 weights for one channel in and five classes (published: 53.0 M)."""
    network = SpineUXNet(
        input_channels=input_channels,
        num_classes=num_classes,
        options=UXNetOptions(heads="full"),
        **paper_architecture(),
    )
    network.apply(network.initialize)
    return network
