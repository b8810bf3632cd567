"""Costs of models as the report prints them: which quantities, in which unit, and what stands in for what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from nnunet_spine_ext.evaluation.metrics import NAN
from nnunet_spine_ext.report.numbers import significant
from nnunet_spine_ext.report.sheets import Cell, number_cell


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A column of costs."""

    key: str
    heading: str
    factor: float = 1.0
    """From the unit of costs.csv to that of the heading."""
    instead: str = ""
    """The quantity that stands in where this one was not measured."""
    instead_word: str = ""


QUANTITIES = (
    Quantity(key="parameters", heading="Parameters (M)", factor=1e-6),
    Quantity(key="gmac", heading="GMAC"),
    Quantity(key="counted_training_memory_gb", heading="Training memory, counted (GB)"),
    Quantity(key="measured_training_memory_gb", heading="Training memory, measured (GB)"),
    Quantity(key="iteration_seconds", heading="Seconds an iteration"),
    Quantity(key="iteration_seconds_with_loading", heading="Seconds an iteration, with loading"),
    Quantity(key="training_hours", heading="Hours to train"),
    Quantity(key="inference_seconds_per_case", heading="Seconds a case"),
    Quantity(key="inference_peak_memory_gb", heading="Inference memory (GB)"),
)
"""All that costs.csv holds."""

IN_SUMMARY = (
    Quantity(key="parameters", heading="Param. (M)", factor=1e-6),
    Quantity(key="gmac", heading="GMAC"),
    Quantity(
        key="measured_training_memory_gb",
        heading="Memory (GB)",
        instead="counted_training_memory_gb",
        instead_word="counted",
    ),
    Quantity(
        key="iteration_seconds_with_loading", heading="s/iter.", instead="iteration_seconds", instead_word="GPU only"
    ),
    Quantity(key="training_hours", heading="Train (h)"),
    Quantity(key="inference_seconds_per_case", heading="s/case"),
)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Model and quantity → value and note."""

    values: Mapping[tuple[str, str], float]
    notes: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, table: pd.DataFrame | None) -> Costs:
        """Return the costs in a table; without one, none."""
        if table is None:
            return cls(values={}, notes={})
        keys = list(zip(table["model"], table["quantity"], strict=True))
        return cls(
            values=dict(zip(keys, table["value"].astype(float), strict=True)),
            notes=dict(zip(keys, table["note"], strict=True)),
        )

    def value(self, model: str, quantity: str) -> float:
        """Return a cost in the unit of costs.csv; NaN where it is not known."""
        return self.values.get((model, quantity), NAN)

    def known(self, quantities: tuple[Quantity, ...]) -> list[Quantity]:
        """Return the quantities that are known of any model."""
        there = {quantity for (_, quantity), value in self.values.items() if not math.isnan(value)}
        return [q for q in quantities if q.key in there or q.instead in there]

    def cell(self, model: str, quantity: Quantity) -> Cell:
        """Return a cost, or what stands in for it."""
        value = self.value(model, quantity.key)
        if math.isnan(value) and quantity.instead:
            value = self.value(model, quantity.instead)
            word = "" if math.isnan(value) else quantity.instead_word
            return number_cell(value * quantity.factor, significant(value * quantity.factor), below=word)
        return number_cell(value * quantity.factor, significant(value * quantity.factor))
