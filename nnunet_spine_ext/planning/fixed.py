"""What a trainer's recipe fixes of its plan: the patch, the batch, and for which configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.planning.depth import Topology
from nnunet_spine_ext.planning.trainers import has_own_stages


@dataclass(frozen=True, kw_only=True)
class FixedByRecipe:
    """The attributes `plan_patch_size`, `plan_batch_size` and `plan_configuration` of a trainer; most have none."""

    patch: tuple[int, ...] | None
    batch: int | None
    configuration: str | None
    """The configuration that the recipe is for. `None`: for all; a patch alone names it by its number of axes."""

    @classmethod
    def of(cls, trainer: type[nnUNetTrainer]) -> FixedByRecipe:
        """Read them from a trainer, which need not be ours."""
        patch = getattr(trainer, "plan_patch_size", None)
        named: str | None = getattr(trainer, "plan_configuration", None)
        if patch is not None and named is None:
            named = "2d" if len(patch) == 2 else "3d_fullres"
        return cls(
            patch=None if patch is None else tuple(patch),
            batch=getattr(trainer, "plan_batch_size", None),
            configuration=named,
        )

    def patch_of(self, configuration: str) -> tuple[int, ...] | None:
        """Return the patch that a configuration must have."""
        return self.patch if configuration == self.configuration else None

    def batch_of(self, configuration: str) -> int | None:
        """Return the batch size that a configuration must have."""
        return self.batch if self.configuration in (None, configuration) else None

    def smallest_batch(self, configuration: str, *, otherwise: int) -> int:
        """Return the batch that a patch must leave room for: the fixed one, where the patch is not fixed as well."""
        fixed = self.batch_of(configuration) if self.patch is None else None
        return fixed or otherwise


def fixed_topology(patch: Sequence[int], *, spacing_mm: Sequence[float], trainer: type[nnUNetTrainer]) -> Topology:
    """Return the pooling that nnU-Net gives to a fixed patch.

    Raises:
        PlanError: the pooling does not divide it, and the trainer's network follows the pooling.
    """
    topology = Topology.of(patch, spacing_mm=spacing_mm)
    if topology.patch_size != tuple(patch) and not has_own_stages(trainer):
        raise PlanError(
            f"{trainer.__name__} fixes a patch of {tuple(patch)} voxels, which is not divisible by "
            f"{topology.divisors}, the pooling for a spacing of {tuple(round(float(s), 3) for s in spacing_mm)} mm. "
            f"The next patch would be {topology.patch_size}."
        )
    return replace(topology, patch_size=tuple(patch))
