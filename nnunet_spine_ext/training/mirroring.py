"""Which axes may be mirrored, in training and in prediction.

A mirror image along the cranio-caudal axis turns L5 over L4 into L4 over L5: with ordered structures it carries wrong
names. Our converters say so in dataset.json: `"spine": {"ordered_labels": true, "cranio_caudal_axis_zyx": 1}`, where
the axis is that of the raw array (z y x order). Any other dataset keeps nnU-Net's own choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_spine_ext.errors import SetupError


@dataclass(frozen=True, kw_only=True)
class Mirroring:
    """The axes of the patch that may be mirrored, and why in one line for the log."""

    axes: tuple[int, ...]
    reason: str


def choose_mirroring(
    nnunet_axes: Sequence[int] | None, *, dataset: Mapping[str, Any], transpose_forward: Sequence[int], dimensions: int
) -> Mirroring:
    """Return nnU-Net's mirroring axes without the cranio-caudal one where labels are ordered along the spine.

    Args:
        nnunet_axes: nnU-Net's own choice, axes of the patch.
        dataset: dataset.json.
        transpose_forward: of the plan; axis i of the preprocessed array is axis transpose_forward[i] of the raw one.
        dimensions: of the patch, 2 or 3. A 2d patch has the last two axes of the preprocessed array.

    Raises:
        SetupError: the labels are ordered, but the axis is not one of 0, 1, 2.
    """
    axes = tuple(nnunet_axes or ())
    facts = dataset.get("spine", {})
    if not facts.get("ordered_labels", False):
        why = "labels are not ordered along the spine" if facts else "dataset.json says nothing about the spine"
        return Mirroring(axes=axes, reason=f"Mirroring: axes {axes}, nnU-Net's own ({why}).")
    raw_axis = facts.get("cranio_caudal_axis_zyx")
    if raw_axis not in (0, 1, 2):
        raise SetupError(
            f'dataset.json says "ordered_labels": true, but "cranio_caudal_axis_zyx" is {raw_axis!r}. '
            "Write 0, 1 or 2 there: the axis of the raw array (z y x) that runs from head to foot."
        )
    cranio_caudal = list(transpose_forward).index(raw_axis) - (3 - dimensions)
    kept = tuple(axis for axis in axes if axis != cranio_caudal)
    where = f"axis {cranio_caudal}" if cranio_caudal >= 0 else "across the slices of a 2d patch"
    return Mirroring(
        axes=kept, reason=f"Mirroring: axes {kept}, never cranio-caudal ({where}), as the labels are ordered along it."
    )
