"""Processor seconds of the everyday commands, start of Python included.

    python benchmarks/commands.py [--rounds 5]  >  benchmarks/commands.md

User and system time of the command and of all that it starts, as the system accounts for them; so a busy machine
changes them little. The commands take turns. `python -c pass` is the floor. (Unix)
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence

TARGET_SECONDS = 0.5
COMMANDS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("python -c pass", ("-c", "pass"), False),
    ("nnunet_spine --help", ("-m", "nnunet_spine_ext", "--help"), True),
    ("nnunet_spine networks", ("-m", "nnunet_spine_ext", "networks"), True),
    ("nnunet_spine convert --list", ("-m", "nnunet_spine_ext", "convert", "--list"), False),
    ("nnunet_spine doctor", ("-m", "nnunet_spine_ext", "doctor"), False),
)
"""What is shown, its arguments, whether the target holds for it."""


def processor_seconds(arguments: Sequence[str]) -> float:
    """Return user and system seconds of one run."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # already waited for
    return usage.ru_utime + usage.ru_stime


def report(rounds: int) -> str:
    """Return everything as Markdown."""
    for _, arguments, _ in COMMANDS:
        processor_seconds(arguments)  # compiles what was never compiled
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in COMMANDS}
    for _ in range(rounds):
        for name, arguments, _ in COMMANDS:
            seconds[name].append(processor_seconds(arguments))
    lines = []
    for name, _, has_target in COMMANDS:
        median = statistics.median(seconds[name])
        target = (f"{TARGET_SECONDS} s: " + ("reached" if median < TARGET_SECONDS else "missed")) if has_target else "–"
        lines.append(f"| `{name}` | {median:.2f} | {min(seconds[name]):.2f} to {max(seconds[name]):.2f} | {target} |")
    return "\n".join([
        "# Everyday commands",
        "",
        "    python benchmarks/commands.py",
        "",
        "| command | processor seconds, median | all rounds | target |",
        "| --- | ---: | ---: | ---: |",
        *lines,
        "",
        f"User and system time, {rounds} rounds. {platform.machine()}, {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}.",
    ])  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    given = parser.parse_args()
    print(report(1 if given.quick else given.rounds))


if __name__ == "__main__":
    main()
