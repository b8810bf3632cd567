"""The table of perturbations for readers: what each is called, what its strength means, and when the image is whole.

The formulas are in `benchmark/curves/perturbations.py`; the report reads only this.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PerturbationFacts:
    """One way in which images get worse."""

    key: str
    """In robustness.csv."""
    title: str
    unit: str
    """What the strength is, for the axis of a figure."""
    strengths: tuple[float, ...]
    """Those of a curve, besides the neutral one."""
    neutral: float
    """The strength at which the image is unchanged."""
    definition: str


PERTURBATION_FACTS = (
    PerturbationFacts(
        key="noise",
        title="Noise",
        unit="k, SD in grey levels of 0–255",
        strengths=(10, 30, 50, 70, 90),
        neutral=0,
        definition="Gaussian noise of k grey levels on a scale of 0 to 255, kept within it (paper 004, equation 5); "
        "0 and 255 are the 0.5th and the 99.5th percentile of the image",
    ),
    PerturbationFacts(
        key="blur",
        title="Blur",
        unit="SD in mm",
        strengths=(0.5, 1, 1.5, 2, 3),
        neutral=0,
        definition="Gaussian blur in the plane of the slices",
    ),
    PerturbationFacts(
        key="bias",
        title="Bias field",
        unit="brightest over darkest place",
        strengths=(1.5, 2, 3, 4, 6),
        neutral=1,
        definition="a smooth brightness over the image: the exponential of a random polynomial of degree 3",
    ),
    PerturbationFacts(
        key="motion",
        title="Motion",
        unit="mm and degrees",
        strengths=(1, 2, 4, 6, 10),
        neutral=0,
        definition="two movements in the plane of the slices during the acquisition, each of so many mm and degrees",
    ),
    PerturbationFacts(
        key="ghosting",
        title="Ghosting",
        unit="part of the lines' signal lost",
        strengths=(0.2, 0.4, 0.6, 0.8, 1),
        neutral=0,
        definition="4 to 10 copies of the image along one axis of the plane of the slices",
    ),
    PerturbationFacts(
        key="thickness",
        title="Slice thickness",
        unit="slices averaged",
        strengths=(2, 3, 4, 5),
        neutral=1,
        definition="so many neighbouring slices replaced by their mean, on the same grid",
    ),
)
"""In the order of a report."""
