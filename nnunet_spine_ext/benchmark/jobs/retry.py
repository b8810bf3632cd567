"""Whether, and when, a job that failed is tried again: the same failure twice is a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+")


@dataclass(kw_only=True)
class Attempts:
    """The failures of one job.

    A chance failure (a worker killed, a file system away for a minute) is worth another attempt after a while; an error
    that comes back will come back again.
    """

    first_wait_s: float = 30.0
    longest_wait_s: float = 600.0
    most: int = 6
    failures: list[str] = field(default_factory=list)

    def failed(self, message: str) -> float | None:
        """Note a failure; return how many seconds to wait before the next attempt, None if there shall be none."""
        same_again = bool(self.failures) and _alike(self.failures[-1]) == _alike(message)
        self.failures.append(message)
        if same_again or len(self.failures) >= self.most:
            return None
        return min(self.first_wait_s * (1 << len(self.failures) - 1), self.longest_wait_s)


def _alike(message: str) -> str:
    """Return a message without what differs from one time to the next: process numbers, addresses, times."""
    return _NUMBERS.sub("#", message)
