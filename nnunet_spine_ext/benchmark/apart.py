"""A question to a process of its own: what answering takes is its own, and a crash ends nothing else.

Question and answer are JSON files; the module that is asked calls `answer_question` as its main function.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data.files import write_json


class NoAnswerError(Exception):
    """The process ended without an answer.

    Attributes:
        status: its exit status, negative if a signal ended it.
        log: the file with all that it printed.
    """

    def __init__(self, status: int, log: Path) -> None:
        super().__init__(status, log)
        self.status, self.log = status, log

    @property
    def said(self) -> str:
        """All that it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def ask(
    module: str, question: Mapping[str, Any], *, files: Path, timeout_seconds: float | None = None
) -> dict[str, Any]:
    """Run `python -m <module> <files>.request.json <files>.json` and return the answer.

    Args:
        module: dotted name.
        question: whatever the module understands, as JSON.
        files: how the paths of question, answer and log (`<files>.txt`) begin; they stay.
        timeout_seconds: after which the process is killed.

    Raises:
        NoAnswerError: the process gave no answer.
        subprocess.TimeoutExpired: it was killed.
    """
    asked, answered, log = (files.with_name(f"{files.name}{ending}") for ending in (".request.json", ".json", ".txt"))
    answered.unlink(missing_ok=True)
    write_json(dict(question), asked)
    command = [sys.executable, "-m", module, str(asked), str(answered)]
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(command, stdout=stream, stderr=stream, check=False, timeout=timeout_seconds)
    if not answered.is_file():
        raise NoAnswerError(done.returncode, log)
    answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
    return answer


def answer_question(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer in the process that `ask` starts."""
    asked, answered = map(Path, sys.argv[1:3])
    write_json(answer(json.loads(asked.read_text(encoding="utf-8"))), answered)
