"""The critical-difference diagram (Demšar 2006), drawn by autorank: the extra `stats`.

Models stand at their mean rank over cases; a bar joins those that Friedman's test with Nemenyi's post-hoc test cannot
tell apart. It is the picture that readers of machine-learning papers know. Its verdict can differ from the
Wilcoxon-Holm table: Nemenyi compares ranks among all models, so adding a model can change what is said of two others.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd

from nnunet_spine_ext.errors import SetupError, SpineExtError
from nnunet_spine_ext.evaluation.statistics import PairedScores
from nnunet_spine_ext.evaluation.statistics_pairs import LEVEL

FEWEST_MODELS = 3
FEWEST_CASES = 5
"""Autorank refuses fewer."""
_WIDTH_INCHES = 6.0


def critical_difference_svg(scores: PairedScores, *, higher_is_better: bool = True, level: float = LEVEL) -> bytes:
    """Return the diagram as SVG; the same scores give the same bytes.

    Raises:
        SetupError: the extra `stats` is not installed.
        SpineExtError: fewer than three models or five cases.
    """
    autorank, plot_stats = _autorank()
    models, cases = len(scores.models), len(scores.cases)
    if models < FEWEST_MODELS or cases < FEWEST_CASES:
        raise SpineExtError(
            f"A critical-difference diagram needs {FEWEST_MODELS} models and {FEWEST_CASES} cases, here are "
            f"{models} and {cases}. Look at the paired tests instead."
        )
    import matplotlib.pyplot as plt

    table = pd.DataFrame(scores.values, columns=list(scores.models))
    order = "descending" if higher_is_better else "ascending"
    # Autorank prints which test it was told to use, and warns of normality tests that are not used here.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = autorank(table, alpha=level, order=order, force_mode="nonparametric")
        axes = plot_stats(result, allow_insignificant=True, width=_WIDTH_INCHES)
    picture = io.BytesIO()
    # Ids of elements are random and the date is today's unless told otherwise.
    with plt.rc_context({"svg.hashsalt": "critical difference", "svg.fonttype": "path"}):
        axes.figure.savefig(picture, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(axes.figure)
    return picture.getvalue()


def _autorank() -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        from autorank import autorank, plot_stats
    except ImportError as error:
        raise SetupError(
            "The critical-difference diagram needs autorank, which is not installed. Install it with the extra "
            'stats: pip install "nnunet_spine_ext[stats]"'
        ) from error
    return autorank, plot_stats
