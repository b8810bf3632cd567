"""Folds and seeds: results as papers print them, and whether the dataset can tell the models apart."""

from __future__ import annotations

import math

from nnunet_spine_ext.evaluation.statistics_tables import in_order
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Section, Words
from nnunet_spine_ext.report.numbers import shown, with_sd, worth
from nnunet_spine_ext.report.sheets import MODEL, Cell, Column, Sheet, count_cell, fixed, name_cell, with_best


def folds_section(analysis: Analysis) -> Section | None:
    """Return the section; None if there are neither folds nor seeds."""
    blocks: list[Block] = []
    if analysis.folds:
        blocks += [
            Words(lines=(_opening(analysis), _suitability(analysis))),
            _folds(analysis),
        ]
    if analysis.seeds:
        blocks += [Words(lines=("Repeated trainings: a difference of models below the SD of seeds is none.",))]
        blocks.append(_seeds(analysis))
    return Section(key="folds", title="Folds and seeds", blocks=tuple(blocks)) if blocks else None


def _opening(analysis: Analysis) -> str:
    counts = ", ".join(str(n) for n in analysis.folds[0].cases_per_fold)
    return (
        f"Mean Dice of each fold ({counts} cases), and mean ± standard deviation of the folds' means, as papers print "
        "it. The deviation over cases, printed in the summary, is another number and much larger."
    )


def _suitability(analysis: Analysis) -> str:
    found = analysis.suitability
    if math.isnan(found.ratio):
        return "Whether the dataset can tell the models apart needs two models with two folds."
    return (
        f"Suitability of the dataset: the SD between models is {found.between_models_sd:.4f}, the mean SD between "
        f"folds of a model {found.between_folds_sd:.4f}; their ratio is {found.ratio:.2f}. Above 1, models differ more "
        'than folds do (the test of "nnU-Net Revisited", arXiv 2404.09556).'
    )


def _folds(analysis: Analysis) -> Sheet:
    metric, folds = analysis.metric, analysis.folds
    means = with_best(
        [
            Cell(
                text=shown(one.mean_of_folds, metric),
                values=(one.mean_of_folds, one.sd_between_folds),
                small=with_sd(one.sd_between_folds, metric),
            )
            for one in folds
        ],
        [worth(one.mean_of_folds, metric) for one in folds],
    )
    return Sheet(
        key="folds",
        caption=f"{analysis.results.dataset}: mean Dice by fold, mean ± SD over folds",
        columns=(
            MODEL,
            *(Column(key=f"fold_{name}", heading=f"Fold {name}") for name in folds[0].folds),
            Column(key="folds", heading="Mean ± SD of folds", parts=("mean", "sd")),
            Column(key="cases_mean", heading="Mean of cases"),
        ),
        rows=tuple(
            (
                name_cell(one.model, model=analysis.index(one.model)),
                *(Cell(text=shown(mean, metric), values=(mean,)) for mean in one.fold_means),
                cell,
                Cell(text=shown(one.mean_of_cases, metric), values=(one.mean_of_cases,)),
            )
            for one, cell in zip(folds, means, strict=True)
        ),
    )


def _seeds(analysis: Analysis) -> Sheet:
    metric = analysis.metric
    names = in_order(seed for one in analysis.seeds for seed in one.seeds)
    rows = []
    for one in analysis.seeds:
        by_seed = dict(zip(one.seeds, one.seed_means, strict=True))
        means = [by_seed.get(name, math.nan) for name in names]
        rows.append(
            (
                name_cell(one.model, model=analysis.index(one.model)),
                *(Cell(text=shown(mean, metric), values=(mean,)) for mean in means),
                Cell(text=fixed(one.sd_between_seeds, 4), values=(one.sd_between_seeds,)),
                count_cell(one.cases),
            )
        )
    return Sheet(
        key="seeds",
        caption=f"{analysis.results.dataset}: mean Dice by seed",
        columns=(
            MODEL,
            *(Column(key=f"seed_{name or 'none'}", heading=f"Seed {name or '–'}") for name in names),
            Column(key="sd_between_seeds", heading="SD of seeds"),
            Column(key="cases", heading="Cases"),
        ),
        rows=tuple(rows),
    )
