"""Every error that a user can cause.

    SpineExtError                 the one base class to catch
      + DataError                 the user's files: carries all findings at once
      + SetupError                environment: variables, versions, folders
      + PlanError                 a network, a plan and a memory target that do not fit together
        + NetworkPlanError        also a ValueError: the words of a plan, or an input size (networks/plan_shape.py)
        + UnsuitableError         this configuration only: another may fit (planning/counting.py)
      + NonFiniteLossError        a training that has become worthless (training/guards.py)

A message says what was found, where, and what to do. `assert` is for our own invariants only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class SpineExtError(Exception):
    """Base of all errors whose message is written for the user; the commands print it without a traceback."""


class SetupError(SpineExtError):
    """The environment is not ready: a variable, a version, a folder."""


class PlanError(SpineExtError):
    """A network, a plan and a memory target do not fit together."""


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """One thing wrong with one file."""

    file: Path
    finding: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.finding}. {self.remedy}"


class DataError(SpineExtError):
    """The user's files cannot be used as they are; `findings` holds every reason, not just the first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(sorted(findings))
        count = "1 finding" if len(self.findings) == 1 else f"{len(self.findings)} findings"
        super().__init__("\n".join([f"{count}:", *(f"  {f}" for f in self.findings)]))

    def __reduce__(self) -> tuple[type[DataError], tuple[tuple[Finding, ...]]]:
        """Pickle by findings: worker processes send this error to their parent."""
        return type(self), (self.findings,)

    @classmethod
    def of(cls, file: Path, finding: str, remedy: str) -> DataError:
        """Return the error for a single finding."""
        return cls([Finding(file=file, finding=finding, remedy=remedy)])
