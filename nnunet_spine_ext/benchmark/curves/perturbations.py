"""Images made worse on purpose, for robustness curves: paper 004's noise curve and its siblings.

Each perturbation has one strength, in a unit of its own, and a neutral strength at which the image is unchanged. What
is random (the noise, where the coil is dark, how the patient moved) is drawn from (seed, case, channel, perturbation),
but not from the strength: along a curve the same disturbance grows, so that its points differ by strength alone, and
every model meets the very same images.

Axes: D H W = array axes 0 1 2 (z y x).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_spine_ext.benchmark.curves.formulas import (
    Frame,
    Values,
    add_bias_field,
    add_ghosts,
    add_motion,
    add_noise,
    blur,
    thicken_slices,
)
from nnunet_spine_ext.data.geometry import Array
from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.perturbation_facts import PERTURBATION_FACTS, PerturbationFacts

VERSION = 1
"""Of the formulas; results of another version are not mixed with these."""


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One way in which images get worse."""

    facts: PerturbationFacts
    formula: Callable[[Values, Frame, float, np.random.Generator], Values]
    """Image, frame, strength, what is random → image."""
    greatest: float = math.inf
    whole: bool = False
    """The strength is a whole number."""


_FACTS = {facts.key: facts for facts in PERTURBATION_FACTS}

PERTURBATIONS: dict[str, Perturbation] = {
    "noise": Perturbation(
        facts=_FACTS["noise"], formula=lambda image, _, k, random: add_noise(image, k, random=random)
    ),
    "blur": Perturbation(facts=_FACTS["blur"], formula=lambda image, frame, sd_mm, _: blur(image, sd_mm, frame=frame)),
    "bias": Perturbation(
        facts=_FACTS["bias"], formula=lambda image, _, ratio, random: add_bias_field(image, ratio, random=random)
    ),
    "motion": Perturbation(
        facts=_FACTS["motion"],
        formula=lambda image, frame, extent, random: add_motion(image, extent, frame=frame, random=random),
    ),
    "ghosting": Perturbation(
        facts=_FACTS["ghosting"],
        formula=lambda image, frame, lost, random: add_ghosts(image, lost, frame=frame, random=random),
        greatest=1,
    ),
    "thickness": Perturbation(
        facts=_FACTS["thickness"],
        formula=lambda image, frame, averaged, _: thicken_slices(image, round(averaged), frame=frame),
        whole=True,
    ),
}


def perturb(
    image: Array,
    *,
    spacing_zyx_mm: tuple[float, ...],
    perturbation: str,
    strength: float,
    case: str,
    channel: int = 0,
    seed: int = 0,
) -> Array:
    """Return an image (D, H, W) made worse, of the same type; whole numbers are rounded and kept within their range.

    Args:
        image: grey values of one channel.
        spacing_zyx_mm: size of a voxel along each axis.
        perturbation: a key of `PERTURBATIONS`.
        strength: in the perturbation's own unit.
        case: its name; with `channel` and `seed` it decides what is random.
        channel: of the case.
        seed: another one gives another noise.

    Raises:
        SpineExtError: there is no such perturbation or strength.
    """
    how = find_perturbation(perturbation, strength)
    if strength == how.facts.neutral:
        unchanged: Array = image.copy()
        return unchanged
    random = np.random.default_rng(_entropy(seed, case, channel, perturbation))
    frame = Frame.of(image.shape, spacing_zyx_mm)
    return _as_type(how.formula(image.astype(np.float32), frame, strength, random), image.dtype)


def find_perturbation(key: str, strength: float) -> Perturbation:
    """Return a row of the table.

    Raises:
        SpineExtError: there is no such row, or no such strength.
    """
    if key not in PERTURBATIONS:
        raise SpineExtError(f"No perturbation is called {key!r}; there are {', '.join(PERTURBATIONS)}.")
    how = PERTURBATIONS[key]
    facts, least = how.facts, how.facts.neutral
    inside = least <= strength <= how.greatest and math.isfinite(strength)
    if not inside or (how.whole and strength != round(strength)):
        kind = "a whole number" if how.whole else "a number"
        most = "" if math.isinf(how.greatest) else f" and at most {how.greatest:g}"
        raise SpineExtError(
            f"{facts.title} has no strength {strength:g} ({facts.unit}): give {kind} of at least {least:g}{most}."
        )
    return how


def _entropy(*names: object) -> int:
    return int.from_bytes(hashlib.sha256("\n".join(map(str, names)).encode()).digest()[:16], "big")


def _as_type(values: Values, dtype: np.dtype[Any]) -> Array:
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    whole: Array = np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(dtype)
    return whole
