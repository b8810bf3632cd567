"""What networks have in common whose weights belong to one size of slices.

nnU-Net trains and predicts on windows of the plan's patch size alone, so such a network is at home there; it is built
from the patch and says so when it gets another size.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nnunet_spine_ext.networks.backbones.norms import Norm, has_single_value
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError


def slice_patch(patch_size: Sequence[int], *, network: str) -> tuple[int, int]:
    """Return the patch (H, W) that a network is built for.

    Raises:
        NetworkPlanError: it has not two positive entries.
    """
    patch = tuple(int(n) for n in patch_size)
    if len(patch) != 2 or min(patch) < 1:
        raise NetworkPlanError(
            f"{network} is built for slices of one size and needs patch_size=(height, width); got {tuple(patch_size)}."
        )
    return patch


def check_patch(x: Tensor, patch_size: tuple[int, ...], *, network: str) -> None:
    """Check that slices x (B, C, H, W) have the size that a network was built for.

    Raises:
        NetworkPlanError: they have another.
    """
    if tuple(x.shape[2:]) != patch_size:
        raise NetworkPlanError(
            f"This {network} was built for slices of {patch_size} and got {tuple(x.shape[2:])}. Its weights belong to "
            "that size: give it such patches, or plan the dataset with the patch you want (nnunet_spine plan) and "
            "train anew."
        )


def check_statistics(map_size: Sequence[int], *, batch: int, norm: Norm, network: str, where: str) -> None:
    """Check that a norm has more than one value of each channel to train on.

    Args:
        map_size: (h, w) of the smallest map that a norm follows.
        batch: slices in the batch.
        norm: of that map.
        network: its name.
        where: the part that has the map.

    Raises:
        NetworkPlanError: there is one value only.
    """
    if has_single_value(norm, map_size, batch=batch):
        raise NetworkPlanError(
            f"{network}: these slices leave one position for {where}, and the norm {norm!r} cannot train on a single "
            "value. Use a larger patch in the plane, a larger batch (for norm 'batch'), or norm='group'."
        )
