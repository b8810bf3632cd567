"""The table of metrics: what each is called, its unit, which way is good, and its value when a label is missing.

A metric is one row here and one function in the module that computes it (`overlap.py`). The report prints its
definitions from this table.

    missing in          dice  iou  sensitivity  ppv  specificity  volume_difference_ml  voxels
    reference only        0    0       –         0     formula         formula          formula
    prediction only       0    0       0         –     formula         formula          formula
    both                  –    –       –         –        –               –             formula

– is NaN: the value is left out of means, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

Good = Literal["higher", "lower", "zero", "neither"]

NAN = math.nan
FORMULA = None
"""In the table below: the formula is defined although the label is missing, and its value is used."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One column of results.

    The three `absent…` fields are the value when the structure has no voxel in the reference only, in the prediction
    only, or in both; `FORMULA` (None) means that the formula holds there too.
    """

    key: str
    title: str
    unit: str
    good: Good
    absent_in_reference: float | None
    absent_in_prediction: float | None
    absent_in_both: float | None
    definition: str

    def value(self, formula: Callable[[], float], *, in_reference: bool, in_prediction: bool) -> float:
        """Return `formula()`, or the table's value if the structure is missing on a side and the table names one."""
        if in_reference and in_prediction:
            return formula()
        if in_prediction:
            fixed = self.absent_in_reference
        elif in_reference:
            fixed = self.absent_in_prediction
        else:
            fixed = self.absent_in_both
        return formula() if fixed is FORMULA else fixed


OVERLAP_METRICS = (
    Metric(
        key="dice",
        title="Dice",
        unit="",
        good="higher",
        absent_in_reference=0.0,
        absent_in_prediction=0.0,
        absent_in_both=NAN,
        definition="2 TP / (2 TP + FP + FN)",
    ),
    Metric(
        key="iou",
        title="IoU",
        unit="",
        good="higher",
        absent_in_reference=0.0,
        absent_in_prediction=0.0,
        absent_in_both=NAN,
        definition="TP / (TP + FP + FN), the Jaccard index",
    ),
    Metric(
        key="sensitivity",
        title="Sensitivity",
        unit="",
        good="higher",
        absent_in_reference=NAN,
        absent_in_prediction=0.0,
        absent_in_both=NAN,
        definition="TP / (TP + FN), also called recall",
    ),
    Metric(
        key="ppv",
        title="PPV",
        unit="",
        good="higher",
        absent_in_reference=0.0,
        absent_in_prediction=NAN,
        absent_in_both=NAN,
        definition="TP / (TP + FP), the positive predictive value, also called precision",
    ),
    Metric(
        key="specificity",
        title="Specificity",
        unit="",
        good="higher",
        absent_in_reference=FORMULA,
        absent_in_prediction=FORMULA,
        absent_in_both=NAN,
        definition="TN / (TN + FP); near 1 for any small structure, since TN counts the whole background",
    ),
    Metric(
        key="volume_difference_ml",
        title="Volume difference",
        unit="ml",
        good="zero",
        absent_in_reference=FORMULA,
        absent_in_prediction=FORMULA,
        absent_in_both=NAN,
        definition="volume of the prediction minus volume of the reference",
    ),
    Metric(
        key="reference_voxels",
        title="Reference size",
        unit="voxels",
        good="neither",
        absent_in_reference=FORMULA,
        absent_in_prediction=FORMULA,
        absent_in_both=FORMULA,
        definition="TP + FN",
    ),
    Metric(
        key="prediction_voxels",
        title="Prediction size",
        unit="voxels",
        good="neither",
        absent_in_reference=FORMULA,
        absent_in_prediction=FORMULA,
        absent_in_both=FORMULA,
        definition="TP + FP",
    ),
)
"""Computed per structure, and for the union of all structures."""

CASE_METRICS = (
    Metric(
        key="challenge_dice",
        title="Challenge score",
        unit="",
        good="higher",
        absent_in_reference=0.0,
        absent_in_prediction=0.0,
        absent_in_both=NAN,
        definition=(
            "mean Dice over the structures that occur in the reference or in the prediction of a case; a structure on "
            "one side only scores 0, one on neither side is left out (subject score of the 2021 MRSpineSeg challenge)"
        ),
    ),
)
"""Computed once per case, over all its structures."""

SLICE_METRICS = tuple(
    replace(
        metric,
        key=f"slice_{metric.key}",
        title=f"{metric.title} per slice",
        definition=f"mean over the kept slices of a case of: {metric.definition}",
    )
    for metric in OVERLAP_METRICS
    if metric.unit == ""
)
"""Computed per structure and for the union, slice by slice, if slices are asked for (`slices.py`).

In a slice the table's values hold as in a case; NaN is left out of the mean over slices.
"""

SLICES_KEPT = Metric(
    key="slices_kept",
    title="Slices kept",
    unit="",
    good="neither",
    absent_in_reference=FORMULA,
    absent_in_prediction=FORMULA,
    absent_in_both=FORMULA,
    definition="slices of a case with enough reference to be measured one by one",
)
"""Computed once per case, together with `SLICE_METRICS`."""

METRICS: dict[str, Metric] = {
    metric.key: metric for metric in (*OVERLAP_METRICS, *CASE_METRICS, *SLICE_METRICS, SLICES_KEPT)
}
