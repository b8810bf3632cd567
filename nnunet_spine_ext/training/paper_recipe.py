"""What the recipes of all papers have in common: numbers, stages of their own, and what is told at the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.schedules import adam_with_step_decay
from nnunet_spine_ext.training.trainer import SpineTrainer

PLAIN_RECIPE = Recipe(weight_decay=0.0, foreground_oversampling=0.0, deep_supervision=False)
"""No paper here has weight decay, windows that must contain a structure, or deep supervision in nnU-Net's sense."""


class PaperRecipe(SpineTrainer):
    """A paper's training, for any network; by default with Adam. A recipe names its loss, a trainer its network."""

    recipe = PLAIN_RECIPE
    paper: ClassVar[str]
    """Its number here, "003"."""
    structures: ClassVar[int | None] = None
    """That the paper segments at once; None = any number."""
    structures_advice: ClassVar[str] = ""
    """What to mind where a dataset has more."""
    own_stages: ClassVar[Mapping[str, Any] | None] = None
    """The paper's own stages, widths and strides in the words of a plan; None = those of the plan.

    The plan then gives patch and batch alone.
    """
    decay_factor: ClassVar[float] = 1.0
    """Of the learning rate, after every `decay_epochs`."""
    decay_epochs: ClassVar[int] = 1

    @classmethod
    def architecture_words(cls, configuration_manager: ConfigurationManager) -> dict[str, Any]:
        """Return the paper's own stages on any plan, if it has any."""
        if cls.own_stages is None:
            return super().architecture_words(configuration_manager)
        return deepcopy(dict(cls.own_stages))  # callers may do with the words of a plan what they like

    def check_suitable(self) -> None:
        """Note where plan or task are not of the paper's kind."""
        super().check_suitable()
        for line in self._notes():
            self.print_to_log_file(f"NOTE: paper {self.paper} {line}")

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Return Adam, its rate times `decay_factor` after every `decay_epochs`."""
        return adam_with_step_decay(
            self.network.parameters(),
            learning_rate=self.initial_lr,
            weight_decay=self.weight_decay,
            factor=self.decay_factor,
            every_epochs=self.decay_epochs,
        )

    def _notes(self) -> Iterator[str]:
        if self.plan_configuration == "2d" and len(self.configuration_manager.patch_size) == 3:
            yield "trained this network on single slices (2d); volumes are taken slice by slice."
        found = self.label_manager.num_segmentation_heads - (not self.label_manager.has_regions)
        if self.structures is not None and found > self.structures:
            assert self.structures == 1, "the sentence is made for one"
            yield f"segments one structure, this dataset has {found}. {self.structures_advice}".strip()
