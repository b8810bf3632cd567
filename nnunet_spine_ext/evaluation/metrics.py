"""The table of metrics: what each is called, its unit, which way is good, and its value when a label is missing.

A metric is one row here and one function in the module that computes it (`overlap.py`, `distances.py`,
`vertebrae.py`). The report prints its definitions from this table.

                                             missing in    reference only  prediction only  both
    dice, iou, nsd                                              0               0            –
    sensitivity                                                 –               0            –
    fnr                                                         –               1            –
    ppv                                                         0               –            –
    specificity, fpr, accuracy, mse, volume_difference_ml    formula         formula         –
    hd95, assd                                                  –               –            –
    identified                                                  –               0            –
    label_shift                                                 –            formula         –
    reference_voxels, prediction_voxels                      formula         formula      formula

– is NaN: the value is left out of means, and counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

Good = Literal["higher", "lower", "zero", "neither"]

NAN = math.nan
FORMULA = None
"""In the table below: the formula is defined although the label is missing, and its value is used."""

Absent = tuple["float | None", "float | None", "float | None"]
"""The value when a structure has no voxel in the reference only, in the prediction only, in both."""


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


def _row(key: str, title: str, unit: str, good: Good, absent: Absent, definition: str) -> Metric:
    reference, prediction, both = absent
    return Metric(
        key=key,
        title=title,
        unit=unit,
        good=good,
        absent_in_reference=reference,
        absent_in_prediction=prediction,
        absent_in_both=both,
        definition=definition,
    )


OVERLAP_METRICS = (
    _row("dice", "Dice", "", "higher", (0.0, 0.0, NAN), "2 TP / (2 TP + FP + FN)"),
    _row(
        "iou", "IoU", "", "higher", (0.0, 0.0, NAN), "TP / (TP + FP + FN), the Jaccard index; mIoU over the structures"
    ),
    _row("sensitivity", "Sensitivity", "", "higher", (NAN, 0.0, NAN), "TP / (TP + FN), also called recall"),
    _row(
        "ppv",
        "PPV",
        "",
        "higher",
        (0.0, NAN, NAN),
        "TP / (TP + FP), the positive predictive value, also called precision",
    ),
    _row(
        "specificity",
        "Specificity",
        "",
        "higher",
        (FORMULA, FORMULA, NAN),
        "TN / (TN + FP); near 1 for any small structure, since TN counts the whole background",
    ),
    _row(
        "accuracy",
        "Accuracy",
        "",
        "higher",
        (FORMULA, FORMULA, NAN),
        "(TP + TN) / (TP + TN + FP + FN); near 1 for any small structure, since TN counts the whole background",
    ),
    _row("fnr", "FNR", "", "lower", (NAN, 1.0, NAN), "FN / (FN + TP), the false negative rate: 1 - sensitivity"),
    _row(
        "fpr", "FPR", "", "lower", (FORMULA, FORMULA, NAN), "FP / (FP + TN), the false positive rate: 1 - specificity"
    ),
    _row(
        "mse",
        "MSE",
        "",
        "lower",
        (FORMULA, FORMULA, NAN),
        "mean over voxels of (reference - prediction) squared, both masks of 0 and 1 (paper 001): 1 - accuracy",
    ),
    _row(
        "volume_difference_ml",
        "Volume difference",
        "ml",
        "zero",
        (FORMULA, FORMULA, NAN),
        "volume of the prediction minus volume of the reference",
    ),
    _row("reference_voxels", "Reference size", "voxels", "neither", (FORMULA, FORMULA, FORMULA), "TP + FN"),
    _row("prediction_voxels", "Prediction size", "voxels", "neither", (FORMULA, FORMULA, FORMULA), "TP + FP"),
)
"""Computed per structure, and for the union of all structures."""

DEFAULT_TOLERANCE_MM = 1.0

_SURFELS = "surface of areas between voxel corners (surfels, as the package surface-distance)"
_EDGES = "surface of voxels of which a face is outside (as MONAI)"
_FAR = "95th percentile of the distances between the surfaces, the larger of both directions"
_MEAN = "mean distance between the surfaces, over both of them together"


def nsd_metrics(tolerance_mm: float) -> tuple[Metric, Metric]:
    """Return the two normalised surface Dice at a tolerance; their keys name it: `nsd_surfel_1mm`."""
    return (_nsd("surfel", _SURFELS, tolerance_mm), _nsd("voxel", _EDGES, tolerance_mm))


def _nsd(kind: str, surface: str, tolerance_mm: float) -> Metric:
    near = f"{tolerance_mm:g} mm"
    return _row(
        f"nsd_{kind}_{tolerance_mm:g}mm",
        f"NSD at {near} ({kind}s)",
        "",
        "higher",
        (0.0, 0.0, NAN),
        f"share of both surfaces that lies within {near} of the other; {surface}",
    )


FIXED_DISTANCE_METRICS = (
    _row("hd95_surfel_mm", "HD95 (surfels)", "mm", "lower", (NAN, NAN, NAN), f"{_FAR}, by area; {_SURFELS}"),
    _row("hd95_voxel_mm", "HD95 (voxels)", "mm", "lower", (NAN, NAN, NAN), f"{_FAR}; {_EDGES}"),
    _row("assd_surfel_mm", "ASSD (surfels)", "mm", "lower", (NAN, NAN, NAN), f"{_MEAN}, by area; {_SURFELS}"),
    _row("assd_voxel_mm", "ASSD (voxels)", "mm", "lower", (NAN, NAN, NAN), f"{_MEAN}; {_EDGES}"),
)
"""Computed per structure, together with `nsd_metrics`."""

CASE_METRICS = (
    _row(
        "challenge_dice",
        "Challenge score",
        "",
        "higher",
        (0.0, 0.0, NAN),
        "mean Dice over the structures that occur in the reference or in the prediction of a case; a structure on "
        "one side only scores 0, one on neither side is left out (subject score of the 2021 MRSpineSeg challenge)",
    ),
)
"""Computed once per case, over all its structures."""

LEVEL_METRICS = (
    _row(
        "identified",
        "Identified",
        "",
        "higher",
        (NAN, 0.0, NAN),
        "1 if, of all predicted structures of its kind, that of its own name has its centroid nearest to the true one, "
        "and less than 20 mm from it; else 0 (identification of the VerSe challenge)",
    ),
    _row(
        "label_shift",
        "Label shift",
        "",
        "zero",
        (NAN, FORMULA, NAN),
        "by how many levels its name is too far towards the head, where a predicted structure of its kind has its "
        "shape (IoU above 0.5): 0 if that bears its own name; left out if none has its shape",
    ),
)
"""Computed per structure whose name is a level of the spine (`levels.py`)."""

LEVEL_CASE_METRICS = (
    _row(
        "identification_rate",
        "Identification rate",
        "",
        "higher",
        (NAN, 0.0, NAN),
        "share of the reference's vertebrae and discs that are identified",
    ),
    _row(
        "shifted_structures",
        "Shifted structures",
        "",
        "lower",
        (NAN, FORMULA, NAN),
        "number of the reference's vertebrae and discs that are there in shape, but under another level's name",
    ),
    _row(
        "common_shift",
        "Common shift",
        "",
        "zero",
        (NAN, FORMULA, NAN),
        "the label shift that most shifted structures share; 0 if none is shifted, left out if no shape is right",
    ),
)
"""Computed once per case, over its vertebrae and discs."""

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

SLICES_KEPT = _row(
    "slices_kept",
    "Slices kept",
    "",
    "neither",
    (FORMULA, FORMULA, FORMULA),
    "slices of a case with enough reference to be measured one by one",
)
"""Computed once per case, together with `SLICE_METRICS`."""

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        *OVERLAP_METRICS,
        *FIXED_DISTANCE_METRICS,
        *nsd_metrics(DEFAULT_TOLERANCE_MM),
        *LEVEL_METRICS,
        *CASE_METRICS,
        *LEVEL_CASE_METRICS,
        *SLICE_METRICS,
        SLICES_KEPT,
    )
}
"""Key → metric; of the surface Dice that at the default tolerance (`known_metrics` knows the others)."""

_NSD_KEY = re.compile(r"nsd_(?:surfel|voxel)_(\d[\d.e+-]*)mm")


def known_metrics(keys: Iterable[str]) -> dict[str, Metric]:
    """Return those of `keys` that are metrics, in the order of the table; a surface Dice at any tolerance is one."""
    wanted = set(keys)
    tolerances = {float(m.group(1)) for key in wanted if (m := _NSD_KEY.fullmatch(key)) and _is_number(m.group(1))}
    at_others = [metric for tolerance in sorted(tolerances) for metric in nsd_metrics(tolerance)]
    table: dict[str, Metric] = {}
    for key, metric in METRICS.items():
        table[key] = metric
        if key == "nsd_voxel_1mm":
            table |= {other.key: other for other in at_others}
    return {key: metric for key, metric in table.items() if key in wanted}


def _is_number(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
