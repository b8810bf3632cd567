"""Encoder and nested decoder of SpineUNetPP (see `unetpp`), in the plan's own order of axes.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.layers import ConvNormAct, NormAct
from nnunet_spine_ext.networks.blocks.parts_conv import PartsConv
from nnunet_spine_ext.networks.blocks.recompute import has_state, recomputed
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.planned import Planned
from nnunet_spine_ext.networks.unetpp_options import UNetPPOptions


def nested_depths(bottom: int, max_nest_depth: int | None) -> tuple[int, ...]:
    """Return the depths of the nested networks, the whole one (`bottom`) last."""
    nested = bottom if max_nest_depth is None else min(max_nest_depth, bottom)
    return tuple(sorted({*range(1, nested + 1), bottom}))


class UNetPPEncoder(nn.Module):
    """The plan's convolutions at every stage."""

    def __init__(self, plan: Planned, *, options: UNetPPOptions) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        width = plan.input_channels
        for stage, outputs in enumerate(plan.features):
            self.stages.append(_encoder_stage(plan, width, stage=stage, pool=options.down == "pool" and stage > 0))
            width = outputs

    def forward(self, x: Tensor, depth: int) -> list[Tensor]:
        """Return the features of stages 0 … `depth` for x (B, C, ...); deeper ones are not computed."""
        features: list[Tensor] = []
        for stage in self.stages[: depth + 1]:
            x = stage(x)
            features.append(x)
        return features


def _encoder_stage(plan: Planned, inputs: int, *, stage: int, pool: bool) -> nn.Sequential:
    width, kernel, layers = plan.features[stage], plan.kernels[stage], plan.layers
    if pool:
        made = nn.Sequential(plan.pool(stage), ConvNormAct(inputs, width, kernel, layers=layers))
    else:
        stride = plan.strides[stage]
        made = nn.Sequential(ConvNormAct(inputs, width, plan.strided_kernel(stage), layers=layers, stride=stride))
    return made.extend(ConvNormAct(width, width, kernel, layers=layers) for _ in range(plan.convs[stage] - 1))


class NestNode(nn.Module):
    """X^{i,j}: the plan's convolutions on all earlier nodes of its row, beside the up-sampled node below.

    Args:
        plan: its words.
        stage: i, the row.
        earlier: number of nodes before it in its row.
        recompute: keep its input maps alone for backward, unless it has dropout or running statistics.
    """

    def __init__(self, plan: Planned, *, stage: int, earlier: int, recompute: bool = False) -> None:
        super().__init__()
        width, kernel, layers = plan.features[stage], plan.kernels[stage], plan.layers
        convs = plan.convs_up[plan.bottom - 1 - stage]
        self.up = layers.transposed(plan.features[stage + 1], width, stride=plan.strides[stage + 1])
        self.mix = PartsConv([width] * (earlier + 1), width, kernel, layers=layers, bias=layers.conv_bias)
        self.rest = nn.Sequential(
            NormAct(width, layers=layers),
            *(ConvNormAct(width, width, kernel, layers=layers) for _ in range(convs - 1)),
        )
        self.recompute = recompute and not has_state(self)

    def forward(self, row: Sequence[Tensor], below: Tensor) -> Tensor:
        """Return the node's features for the maps of its row (B, C, ...) and the node below (B, C', ...)."""
        return recomputed(self._features, below, *row, when=self.recompute and self.training)

    def _features(self, below: Tensor, *row: Tensor) -> Tensor:
        features: Tensor = self.rest(self.mix([*row, self.up(below)]))
        return features


class UNetPPDecoder(nn.Module):
    """The nested decoders and a linear head for each, in the order of computation: the shallowest first.

    The decoder of depth d is the diagonal of nodes i + j = d. With all depths that gives the published triangle; see
    `UNetPPOptions.max_nest_depth` for fewer.

    `deep_supervision`, `branch` and `average` are read at every call. All parts are always built, so that the state
    depends on none of them.
    """

    def __init__(self, plan: Planned, *, options: UNetPPOptions) -> None:
        super().__init__()
        self.deep_supervision = plan.deep_supervision
        self.average = options.average
        self.depths = nested_depths(plan.bottom, options.max_nest_depth)
        self.branch = options.branch
        self.nodes = nn.ModuleDict()
        row_lengths = [1] * plan.bottom
        for depth in self.depths:
            for stage in range(depth - 1, -1, -1):
                self.nodes[_name(stage, depth)] = NestNode(
                    plan, stage=stage, earlier=row_lengths[stage], recompute=options.recompute
                )
                row_lengths[stage] += 1
        self.seg_layers = nn.ModuleList(plan.layers.pointwise(plan.features[0], plan.num_classes) for _ in self.depths)

    @property
    def branch(self) -> int | None:
        """The depth of the network that predicts; None for the whole one.

        Raises:
            NetworkPlanError: (when set) no network of that depth is nested.
        """
        return self._branch

    @branch.setter
    def branch(self, depth: int | None) -> None:
        if depth is not None and depth not in self.depths:
            raise NetworkPlanError(f"There is no branch of depth {depth}; there are {self.depths}.")
        self._branch = depth

    @property
    def depth(self) -> int:
        """How many stages below the first are needed."""
        return self.depths[-1] if self._branch is None or self.deep_supervision else self._branch

    def forward(self, features: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return logits for the features of stages 0 … `depth`.

        Returns:
            (B, K, ...) at the input's size; with deep supervision one of them for each depth, the deepest first.
        """
        rows = [[feature] for feature in features]
        for depth in self.depths:
            if depth > self.depth:
                break
            x = features[depth]
            for stage in range(depth - 1, -1, -1):
                x = self.nodes[_name(stage, depth)](rows[stage], x)
                rows[stage].append(x)
        tops = rows[0][1:]
        if self.deep_supervision:
            return self._logits(tops)[::-1]
        if self.average:
            logits = self._logits(tops)
            return sum(logits[1:], start=logits[0]) / len(logits)
        return self.seg_layers[len(tops) - 1](tops[-1])  # type: ignore[no-any-return]

    def keep(self, depths: tuple[int, ...]) -> None:
        """Drop the decoders of all other depths; those that are kept must not need them (the shallowest do not)."""
        dropped = {_name(stage, depth) for depth in set(self.depths) - set(depths) for stage in range(depth)}
        self.nodes = nn.ModuleDict({name: node for name, node in self.nodes.items() if name not in dropped})
        self.seg_layers = self.seg_layers[: len(depths)]
        self.depths = depths
        self.branch = None

    def _logits(self, tops: Sequence[Tensor]) -> list[Tensor]:
        return [head(x) for head, x in zip(self.seg_layers, tops, strict=False)]


def _name(stage: int, depth: int) -> str:
    """Return the key of the node of a stage in the decoder of a depth; X^{i,j} has stage i and depth i + j."""
    return f"stage{stage}_depth{depth}"
