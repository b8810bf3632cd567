"""A case's label map from its logits: resampled, decided, uncropped and turned back as nnU-Net does.

nnU-Net resamples the logits of all channels (in float64, if it uses scikit-image) and decides then; here every part of
the image is decided while it is resampled, so that beside the network's logits only label maps and a few slices exist.

Axes: logits are K (channels) and the three axes of the plan, 0 1 2; label maps are in the axes of the image file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from numpy.typing import NDArray

from nnunet_spine_ext.inference.decision import Largest, LastRegion, MakeDecision
from nnunet_spine_ext.inference.resampling import Resampling, why_not_per_channel

Array = NDArray[Any]
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Model:
    """What nnU-Net's managers say about a model."""

    plans: Any
    """nnU-Net's PlansManager."""
    configuration: Any
    """nnU-Net's ConfigurationManager."""
    labels: Any
    """nnU-Net's LabelManager."""

    def why_not_lean(self) -> str | None:
        """Return why label maps cannot be made part by part and equal nnU-Net's; None if they can."""
        if type(self.labels) is not LabelManager:
            return f"the plan decides labels by {type(self.labels).__name__}"
        if self.labels.has_regions and self.labels.inference_nonlin is not torch.sigmoid:
            return "regions are not decided by a sigmoid"
        return why_not_per_channel(self.configuration.resampling_fn_probabilities)

    def decisions(self) -> MakeDecision:
        """Return what starts the decision of a block."""
        if self.labels.has_regions:
            return partial(LastRegion, class_order=self.labels.regions_class_order)
        return partial(Largest, channels=self.labels.num_segmentation_heads)

    def resampling(self, source_shape: tuple[int, ...], properties: Mapping[str, Any]) -> Resampling:
        """Return how logits of this shape come to the shape of their image (after cropping)."""
        target_shape = properties["shape_after_cropping_and_before_resampling"]
        image_spacing = [properties["spacing"][axis] for axis in self.plans.transpose_forward]
        spacing = list(self.configuration.spacing)
        if len(spacing) < len(target_shape):  # a 2d plan leaves the distance of slices as it is
            spacing = [image_spacing[0], *spacing]
        return Resampling.of(
            self.configuration.resampling_fn_probabilities,
            source_shape=source_shape,
            target_shape=target_shape,
            source_spacing=spacing,
            target_spacing=image_spacing,
        )


def label_map(
    logits: Array, properties: Mapping[str, Any], *, model: Model, pool: Executor | None = None, threads: int = 1
) -> Array:
    """Return the label map that nnU-Net makes of these logits.

    Args:
        logits: K channels and the three axes of the plan, as the network's sliding window left them.
        properties: what nnU-Net's preprocessing noted of the image.
        model: for which `why_not_lean` has no reason.
        pool: computes parts at the same time; one after the other without it.
        threads: of the pool; as many parts wait at most where order counts.

    Returns:
        Labels in the shape and the axes of the image file, uint8 or uint16 as nnU-Net chooses.
    """
    resampling = model.resampling(logits.shape[1:], properties)
    decided = _decide(logits, resampling, model.decisions(), pool, threads)
    few = len(model.labels.foreground_labels) < 255
    whole = np.zeros(properties["shape_before_cropping"], dtype=np.uint8 if few else np.uint16)
    whole = insert_crop_into_image(whole, decided, properties["bbox_used_for_cropping"])
    turned: Array = whole.transpose(model.plans.transpose_backward)
    return turned


def _decide(logits: Array, resampling: Resampling, start: MakeDecision, pool: Executor | None, threads: int) -> Array:
    if resampling.axis is None:
        return _decide_by_channels(logits, resampling, start, pool, threads)
    return _decide_by_slices(logits, resampling, start, pool)


def _decide_by_slices(logits: Array, resampling: Resampling, start: MakeDecision, pool: Executor | None) -> Array:
    def decide(source: int) -> Array:
        decision = start(resampling.slice_shape)
        for channel in range(len(logits)):
            decision.add(channel, torch.from_numpy(resampling.slice_of_channel(logits, channel, source)))
        return decision.labels.numpy()

    shown = sorted(set(resampling.sources))
    slices = dict(zip(shown, (pool.map if pool else map)(decide, shown), strict=True))
    return np.concatenate([slices[source] for source in resampling.sources], axis=resampling.axis)


def _decide_by_channels(
    logits: Array, resampling: Resampling, start: MakeDecision, pool: Executor | None, threads: int
) -> Array:
    decision = start(resampling.target_shape)
    channels = range(len(logits))
    resampled = _in_order(partial(resampling.channel, logits), channels, pool=pool, ahead=threads)
    for channel, values in zip(channels, resampled, strict=True):
        decision.add(channel, torch.from_numpy(values))
    return decision.labels.numpy()


def _in_order(
    function: Callable[[int], Result], items: Iterable[int], *, pool: Executor | None, ahead: int
) -> Iterator[Result]:
    """Like `map`, but never with more than `ahead` results computed and not yet taken."""
    if pool is None:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    for item in items:
        if len(waiting) == ahead:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, item))
    while waiting:
        yield waiting.popleft().result()
