"""A measurement in a process of its own; where there is none, a reason comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nnunet_spine_ext.benchmark import apart

FAILED = "failed"
"""Key of an answer that is a reason."""

_REASON_CHARACTERS = 300


class NotMeasuredError(Exception):
    """A measurement could not be made; the message is the reason for the note in the table."""


def measured_apart(module: str, question: Mapping[str, Any], *, timeout_seconds: float | None = None) -> dict[str, Any]:
    """Ask a module in a process of its own and return the answer.

    Args:
        module: dotted name; its main function is `answer_question`.
        question: whatever the module understands, as JSON.
        timeout_seconds: after which the process is killed.

    Raises:
        NotMeasuredError: the process gave no answer.
    """
    with TemporaryDirectory(prefix="nnunet_spine_costs_") as folder:
        try:
            answer = apart.ask(module, question, files=Path(folder) / "costs", timeout_seconds=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(f"not ready after {timeout_seconds:g} s") from None
        except apart.NoAnswerError as error:
            raise NotMeasuredError(_how_it_ended(error.status, error.said)) from None
    if FAILED in answer:
        raise NotMeasuredError(answer[FAILED])
    return answer


def _how_it_ended(status: int, said: str) -> str:
    if status < 0:
        return f"the process was ended by signal {-status}" + (" (no memory left?)" if status == -9 else "")
    lines = said.strip().splitlines() or ["it said nothing"]
    return f"the process ended with status {status}: {lines[-1]}"[:_REASON_CHARACTERS]


def answer_question(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer in the process that `measured_apart` starts; an error becomes a reason."""

    def answer_or_reason(question: dict[str, Any]) -> dict[str, Any]:
        try:
            return answer(question)
        except Exception as error:
            words = str(error) if isinstance(error, NotMeasuredError) else f"{type(error).__name__}: {error}"
            return {FAILED: " ".join(words.split())[:_REASON_CHARACTERS]}

    apart.answer_question(answer_or_reason)


def start_as_nnunet(device: str) -> None:
    """Set torch's threads and cuDNN's choice of algorithms as nnU-Net's own commands do.

    Raises:
        NotMeasuredError: there is no such device.
    """
    import torch

    if device == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)
        return
    if not torch.cuda.is_available():
        raise NotMeasuredError("no GPU")
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = True


def peak_resident_bytes() -> int | None:
    """Return the most main memory that this process has held so far; None where the system does not say.

    On Linux from /proc: the figure of `getrusage` there begins with that of the process which started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
