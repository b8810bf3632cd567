"""Questions to a process of its own: the answer is that of this call, and what was printed stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark import apart

MODULE = """
import os
from nnunet_spine_ext.benchmark.apart import answer_question

def answer(question):
    print("asked for", question["what"])
    if question["what"] == "death":
        os._exit(3)
    return {"given": question["what"]}

answer_question(answer)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where question, answer and log go; a module `asked_apart` is there to answer."""
    (tmp_path / "asked_apart.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    return tmp_path / "one"


def test_question_answer_and_log_are_files_that_stay(files: Path) -> None:
    assert apart.ask("asked_apart", {"what": "bread"}, files=files) == {"given": "bread"}
    for ending, content in ((".request.json", {"what": "bread"}), (".json", {"given": "bread"})):
        assert json.loads(files.with_name(f"one{ending}").read_text()) == content
    assert files.with_name("one.txt").read_text() == "asked for bread\n"


def test_without_an_answer_an_earlier_one_is_not_taken(files: Path) -> None:
    apart.ask("asked_apart", {"what": "bread"}, files=files)
    with pytest.raises(apart.NoAnswerError) as caught:
        apart.ask("asked_apart", {"what": "death"}, files=files)
    assert (caught.value.status, caught.value.said) == (3, "asked for death\n")
