"""The critical-difference diagram: what it needs, what it shows, and what happens without autorank."""

from __future__ import annotations

import builtins
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nnunet_spine_ext.errors import SetupError, SpineExtError
from nnunet_spine_ext.evaluation.statistics import PairedScores
from nnunet_spine_ext.evaluation.statistics_cd import critical_difference_svg
from tests.evaluation.scores import table

RANDOM = np.random.default_rng(0)
SCORES = PairedScores.of(
    table(**{n: RANDOM.normal(0.7 + 0.05 * i, 0.02, 20) for i, n in enumerate("ABC")}), resamples=2
)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *rest: object, **named: object) -> object:
        if name == "autorank":
            raise ImportError(name)
        return imported(name, *rest, **named)  # type: ignore[arg-type]

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SetupError, match=r"nnunet_spine_ext\[stats\]"):
        critical_difference_svg(SCORES)


def test_diagram_is_svg_and_the_same_bytes_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("autorank")
    picture = critical_difference_svg(SCORES)
    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert critical_difference_svg(SCORES) == picture
    assert critical_difference_svg(SCORES, higher_is_better=False) != picture
    assert capsys.readouterr().out == ""


def test_too_few_models_or_cases_are_refused() -> None:
    pytest.importorskip("autorank")
    with pytest.raises(SpineExtError, match="needs 3 models and 5 cases, here are 2 and 6"):
        critical_difference_svg(PairedScores.of(table(A=[0.1] * 6, B=[0.2] * 6)))
    with pytest.raises(SpineExtError, match="here are 3 and 4"):
        critical_difference_svg(PairedScores.of(table(A=[0.1] * 4, B=[0.2] * 4, C=[0.3] * 4)))
