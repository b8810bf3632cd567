"""The options of SpineResUNetPP: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnunet_spine_ext.networks.options import is_count
from nnunet_spine_ext.networks.planned_options import PlannedOptions


@dataclass(frozen=True, kw_only=True)
class ResUNetPPOptions(PlannedOptions):
    """What SpineResUNetPP is made of; each of its three blocks can be switched off.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    form: Literal["official", "paper003"] = "official"
    """That of the network's authors, or the variant that paper 003 ran (see `blocks/resunetpp.py`)."""
    se: bool = True
    """Squeeze and excitation: in the encoder, and in the official form after the decoder's residual blocks as well."""
    se_reduction: int | None = None
    """None: the form's own (8 and 16)."""
    aspp: Literal["dilated", "undilated", "none"] = "dilated"
    """At the bridge and before the head. `undilated`: all rates 1; `none`: a 1x1 convolution in its place."""
    rates: tuple[int, ...] | None = None
    """Dilations, in the plane. None: the form's own (1, 6, 12, 18 and 6, 12, 18)."""
    attention: bool = True
    """In the decoder, on its features before they are up-sampled."""
    recompute: bool = True
    """Compute again in backward what lies between convolutions instead of keeping it; results are equal. Not where
    there is dropout or a norm with running statistics."""

    def __post_init__(self) -> None:
        if self.rates is not None:
            object.__setattr__(self, "rates", tuple(self.rates))
        super().__post_init__()

    def wrong_values(self) -> list[str]:
        """Return a message for rates that are none."""
        found = super().wrong_values()
        if self.rates is not None and (not self.rates or not all(map(is_count, self.rates))):
            found.append(f"rates is {self.rates}, expected positive dilations")
        return found

    @property
    def reduction(self) -> int:
        """The factor by which squeeze and excitation narrows."""
        return self.se_reduction or {"official": 8, "paper003": 16}[self.form]

    @property
    def wanted_rates(self) -> tuple[int, ...]:
        """The dilations, before a small map cuts them."""
        rates = self.rates or {"official": (1, 6, 12, 18), "paper003": (6, 12, 18)}[self.form]
        return rates if self.aspp == "dilated" else (1,) * len(rates)


OFFICIAL_OPTIONS = ResUNetPPOptions(heads="full", norm="batch", activation="relu", bias="yes")
"""The network of its authors."""
PAPER_OPTIONS = ResUNetPPOptions(form="paper003", heads="full", norm="batch", activation="relu", bias="yes")
"""The variant that paper 003 ran."""
