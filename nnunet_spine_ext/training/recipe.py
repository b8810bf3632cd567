"""What a training changes in nnU-Net's own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The numbers of a training; `None` keeps nnU-Net's own value, whatever its release says.

    Losses, optimizers, schedules and augmentation are not numbers: a trainer overrides the hook of the same name.
    """

    epochs: int | None = None
    training_iterations: int | None = None
    """Training steps of one epoch."""
    validation_iterations: int | None = None
    """Steps of the running validation that ends each epoch (nnU-Net's "pseudo Dice")."""
    learning_rate: float | None = None
    weight_decay: float | None = None
    foreground_oversampling: float | None = None
    """Share of each batch whose window must contain a structure; 0 = windows at random."""
    deep_supervision: bool | None = None

    _NNUNET_NAMES: ClassVar[dict[str, str]] = {
        "epochs": "num_epochs",
        "training_iterations": "num_iterations_per_epoch",
        "validation_iterations": "num_val_iterations_per_epoch",
        "learning_rate": "initial_lr",
        "weight_decay": "weight_decay",
        "foreground_oversampling": "oversample_foreground_percent",
        "deep_supervision": "enable_deep_supervision",
    }

    @property
    def differences(self) -> dict[str, object]:
        """Return what differs from nnU-Net's own recipe, by name."""
        return {name: value for name in self._NNUNET_NAMES if (value := getattr(self, name)) is not None}

    def apply(self, trainer: Any) -> None:  # noqa: ANN401  (any nnU-Net trainer; nnU-Net has no types)
        """Set the attributes of an nnU-Net trainer that this recipe changes."""
        for name, value in self.differences.items():
            setattr(trainer, self._NNUNET_NAMES[name], value)
