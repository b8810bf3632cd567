"""A model of a comparison: what nnU-Net trains under one name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Model:
    """Trainer, plans and configuration, as nnU-Net's flags -tr, -p and -c name them."""

    trainer: str
    plans: str
    configuration: str
    title: str
    """The name in tables and figures."""
    baseline: bool = False
    """Stock nnU-Net's network, which the others are compared with."""

    @property
    def folder_name(self) -> str:
        """Return the folder that nnU-Net gives it below `nnUNet_results/Dataset…`."""
        return f"{self.trainer}__{self.plans}__{self.configuration}"
