"""The layer choices of a plan (normalisation, nonlinearity, dropout, bias) and the unit built from them.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from nnunet_spine_ext.networks.blocks.axes import Axes, Shape, same_padding

Factory = Callable[..., nn.Module]
Conv = nn.Conv2d | nn.Conv3d

INV_SQRT2 = 0.5**0.5
"""Factor after every sum of two paths, so that the variance does not grow with depth (the paper's 1/1.414)."""


class GroupNorm1(nn.GroupNorm):
    """Normalisation over C and space with one weight per channel; built like InstanceNorm, by the channel count.

    Autocast computes it in float32; the result is cast back, or every map after it would be kept at double size.
    """

    def __init__(self, channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(1, channels, eps=eps, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` of shape (B, C, ...)."""
        return super().forward(x).to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What a plan says about layers; builds them. Modules read it in their constructor and do not keep it."""

    axes: Axes
    conv_bias: bool = False
    """Bias of convolutions that a normalisation follows; all others always have one."""
    norm_op: Factory | None = None
    norm_op_kwargs: Mapping[str, object] = field(default_factory=dict)
    dropout_op: Factory | None = None
    dropout_op_kwargs: Mapping[str, object] = field(default_factory=dict)
    nonlin: Factory | None = None
    nonlin_kwargs: Mapping[str, object] = field(default_factory=dict)

    def keeping_channel_weights(self) -> Layers:
        """Return layers whose norm does not undo a factor on a channel, as squeeze and excitation puts there.

        InstanceNorm divides each channel by its own spread and so takes such factors out again, exactly but for its
        eps; `GroupNorm1`, over all channels at once, stands for it.
        """
        norm = self.norm_op
        if not (isinstance(norm, type) and issubclass(norm, _InstanceNorm)):
            return self
        kept = {name: value for name, value in self.norm_op_kwargs.items() if name == "eps"}
        return replace(self, norm_op=GroupNorm1, norm_op_kwargs=kept)

    def keeping_inputs(self) -> Layers:
        """Return layers whose nonlinearity is in place only on what a norm has made.

        Without a norm it would change what is given to it: a sum that others read too, or the result of a convolution
        from which `recompute` starts again.
        """
        if self.norm_op is not None or "inplace" not in self.nonlin_kwargs:
            return self
        return replace(self, nonlin_kwargs={**self.nonlin_kwargs, "inplace": False})

    def conv(self, inputs: int, outputs: int, kernel: Shape, *, stride: Shape | None = None, bias: bool = True) -> Conv:
        """Return a convolution that keeps the size, or divides it by `stride`."""
        op: type[Conv] = nn.Conv3d if self.axes.dims == 3 else nn.Conv2d
        strides: Shape = stride or (1,) * self.axes.dims
        return op(inputs, outputs, kernel, strides, same_padding(kernel), bias=bias)  # type: ignore[arg-type]

    def pointwise(self, inputs: int, outputs: int) -> Conv:
        """Return a 1x1x1 convolution with bias."""
        return self.conv(inputs, outputs, self.axes.space(1))

    def transposed(self, inputs: int, outputs: int, *, stride: Shape) -> nn.Module:
        """Return a transposed convolution whose kernel is its stride, so that its outputs do not overlap."""
        op = nn.ConvTranspose3d if self.axes.dims == 3 else nn.ConvTranspose2d
        return op(inputs, outputs, stride, stride, bias=self.conv_bias)  # type: ignore[arg-type]

    def norm(self, channels: int) -> nn.Module:
        """Return the plan's normalisation, or nothing when the plan has none."""
        return self.norm_op(channels, **self.norm_op_kwargs) if self.norm_op else nn.Identity()

    def act(self) -> nn.Module:
        """Return the plan's nonlinearity, or nothing when the plan has none."""
        return self.nonlin(**self.nonlin_kwargs) if self.nonlin else nn.Identity()

    def dropout(self) -> nn.Module:
        """Return the plan's dropout, or nothing when the plan has none."""
        return self.dropout_op(**self.dropout_op_kwargs) if self.dropout_op else nn.Identity()


class NormAct(nn.Sequential):
    """Dropout → norm → nonlinearity, the order in which nnU-Net's own networks have them after a convolution."""

    def __init__(self, channels: int, *, layers: Layers) -> None:
        super().__init__(layers.dropout(), layers.norm(channels), layers.act())


class ConvNormAct(nn.Sequential):
    """Convolution → dropout → norm → nonlinearity."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Shape, *, layers: Layers, stride: Shape | None = None
    ) -> None:
        conv = layers.conv(inputs, outputs, kernel, stride=stride, bias=layers.conv_bias)
        super().__init__(conv, NormAct(outputs, layers=layers))
