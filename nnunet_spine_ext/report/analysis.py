"""What is computed once for the whole page: the statistics of the metric that models are ranked by."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.metrics import METRICS, Metric
from nnunet_spine_ext.evaluation.statistics import PairedScores, Summary, summaries
from nnunet_spine_ext.evaluation.statistics_folds import (
    FoldSummary,
    SeedSummary,
    fold_summaries,
    seed_summaries,
)
from nnunet_spine_ext.evaluation.statistics_pairs import PairedTest, SignificanceMap, paired_tests, significance_map
from nnunet_spine_ext.evaluation.statistics_ranks import RankSummary, bootstrap_ranks
from nnunet_spine_ext.evaluation.statistics_tables import folds_of_cases
from nnunet_spine_ext.evaluation.suitability import Suitability, suitability
from nnunet_spine_ext.report.comparison_files import Comparison
from nnunet_spine_ext.report.results import Results

RANKED_BY = "dice"


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Results of a comparison and what statistics say about them."""

    results: Results
    comparison: Comparison
    scores: PairedScores
    """Of `RANKED_BY`, on the cases that all models have."""
    ranks: tuple[RankSummary, ...]
    pairs: tuple[PairedTest, ...]
    """Every two models."""
    against_baseline: tuple[PairedTest, ...]
    """Every model against the baseline, a family of its own; empty without a baseline."""
    significance: SignificanceMap
    folds: tuple[FoldSummary, ...]
    folds_missing: str
    """Why there are no means of folds; empty if there are."""
    seeds: tuple[SeedSummary, ...]
    """Empty unless something was trained with several seeds."""
    suitability: Suitability

    @property
    def metric(self) -> Metric:
        """Return the metric that models are ranked by."""
        return METRICS[RANKED_BY]

    def index(self, model: str) -> int:
        """Return the position of a model, which decides its colour and mark."""
        return self.results.models.index(model)

    def summary(self, model: str, *, metric: str, label: str | None = None) -> Summary:
        """Return mean, SD and interval over all cases of one model, whichever cases the others have."""
        table = self.results.score_table(metric=metric, label=label)
        return summaries(PairedScores.of(table[[model]]))[0]


def analyse(results: Results, comparison: Comparison) -> Analysis:
    """Return the statistics of a comparison.

    Raises:
        SpineExtError: the baseline is none of the models.
    """
    baseline = comparison.baseline
    if baseline is not None and baseline not in results.models:
        raise SpineExtError(
            f"The baseline {baseline!r} is none of the models in the tables ({', '.join(results.models)}). "
            "Give the title of one of them, or none."
        )
    scores = PairedScores.of(results.score_table(metric=RANKED_BY))
    pairs = paired_tests(scores)
    folds, missing = _folds(results)
    several_seeds = len(results.seeds) > 1 and (results.table["metric"] == RANKED_BY).any()
    return Analysis(
        results=results,
        comparison=comparison,
        scores=scores,
        ranks=bootstrap_ranks(scores),
        pairs=pairs,
        against_baseline=() if baseline is None else paired_tests(scores, baseline=baseline),
        significance=significance_map(scores.models, pairs),
        folds=fold_summaries(scores, folds),
        folds_missing=missing,
        seeds=seed_summaries(results.table, metric=RANKED_BY) if several_seeds else (),
        suitability=suitability(scores, folds),
    )


def _folds(results: Results) -> tuple[dict[str, str], str]:
    """Return case → fold, or why there is none: models on different splits, or predictions of no fold."""
    try:
        folds = folds_of_cases(results.table)
    except SpineExtError as error:
        return {}, str(error)
    return folds, "" if folds else "The predictions belong to no fold: name it with `nnunet_spine evaluate --fold`."
