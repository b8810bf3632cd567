"""The sections of the page in their order; for those that cannot be there, the line that says what brings them."""

from __future__ import annotations

from importlib.util import find_spec

from nnunet_spine_ext.evaluation.statistics_cd import FEWEST_MODELS
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Missing, Section
from nnunet_spine_ext.report.sections.budget import budget_section
from nnunet_spine_ext.report.sections.cases import cases_section
from nnunet_spine_ext.report.sections.confusion import confusion_section
from nnunet_spine_ext.report.sections.costs import costs_section
from nnunet_spine_ext.report.sections.folds import folds_section
from nnunet_spine_ext.report.sections.jobs import jobs_section
from nnunet_spine_ext.report.sections.levels import levels_section
from nnunet_spine_ext.report.sections.pairs import pairs_section
from nnunet_spine_ext.report.sections.papers import Trainers, papers_section
from nnunet_spine_ext.report.sections.ranking import ranking_section
from nnunet_spine_ext.report.sections.robustness import robustness_section
from nnunet_spine_ext.report.sections.structures import structures_section
from nnunet_spine_ext.report.sections.summary import summary_section

PICTURES = Section(key="pictures", title="Worst cases", blocks=())
"""Its place on the page; the pictures are no blocks."""
_TWO_MODELS = "needs two models with a case in common."
_LEVELS = (
    "`nnunet_spine evaluate` measures them where structures bear the names of levels (L5, T12, L4/L5, vertebra 3 …)."
)
_BY_RUN = "`nnunet_spine benchmark run` writes"


def assemble(analysis: Analysis, trainers: Trainers) -> tuple[list[Section], list[Missing]]:
    """Return the sections that can be made, and what is missing for the others."""
    every: list[tuple[str, Section | None, str]] = [
        ("Summary", summary_section(analysis), ""),
        ("Ranking", ranking_section(analysis), _TWO_MODELS),
        ("Paired differences", pairs_section(analysis), _TWO_MODELS),
        ("Folds and seeds", folds_section(analysis), analysis.folds_missing),
        ("Structures", structures_section(analysis), ""),
        ("Vertebrae and discs", levels_section(analysis), _LEVELS),
        ("Costs", costs_section(analysis), f"{_BY_RUN} costs.csv beside the metrics of a comparison."),
        (
            "Confusion",
            confusion_section(analysis),
            "`nnunet_spine evaluate` writes TABLE.confusion.csv beside its table; leave it there.",
        ),
        (
            "Robustness",
            robustness_section(analysis),
            "`nnunet_spine benchmark robustness` predicts perturbed images and writes robustness.csv.",
        ),
        (
            "Low budget",
            budget_section(analysis),
            "name epochs under `keep_epochs` in benchmark.yaml; `nnunet_spine benchmark run` then writes budget.csv.",
        ),
        (PICTURES.title, PICTURES, ""),
        ("All cases", cases_section(analysis), ""),
        (
            "Paper vs measured",
            papers_section(analysis, trainers),
            "no model here stands in a table of the five papers.",
        ),
        ("Jobs", jobs_section(analysis), f"{_BY_RUN} jobs.csv beside the metrics of a comparison."),
    ]
    if len(analysis.results.models) >= FEWEST_MODELS and find_spec("autorank") is None:
        every.append(("Critical-difference diagram", None, "install the extra `nnunet_spine_ext[stats]`."))
    there = [section for _, section, _ in every if section is not None]
    return there, [Missing(title=title, how=how) for title, section, how in every if section is None]
