"""All benchmarks by one command; writes RESULTS.md from what each of them prints.

    python benchmarks/run.py                  # everything but what takes hours; those keep their last page
    python benchmarks/run.py --all            # everything
    python benchmarks/run.py --only hybrid_literal commands
    python benchmarks/run.py --list

Each benchmark is a script of its own, runs alone by the command above its table, prints Markdown and says on what
machine it ran. Its page is kept beside it (NAME.md) and RESULTS.md is put together from all pages, so figures stay
until they are measured again. A benchmark that fails leaves its page as it was, and the command ends with an error.
With --quick all pages go to a temporary folder instead: that shows that everything runs, and measures nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One script."""

    name: str
    """Of the script, without its ending, and of its page."""
    shows: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = ()
    """Arguments of a run that only shows that it works; None: there is none."""
    slow: bool = False
    """Runs with --all or by name only."""
    on_gpu: bool = False
    """Takes --device cuda."""

    @property
    def script(self) -> Path:
        """The file."""
        return FOLDER / f"{self.name}.py"

    def command(self, *, quick: bool, device: str) -> list[str]:
        """Return the arguments of Python."""
        chosen = (self.quick or ()) if quick else self.arguments
        return [str(self.script), *chosen, *(("--device", device) if self.on_gpu and device != "cpu" else ())]


BENCHMARKS = (
    Benchmark(
        name="hybrid_literal", shows="SpineHybrid, the literal reading of paper 000, and stock nnU-Net",
        quick=("--quick",), on_gpu=True,
    ),
    Benchmark(
        name="activation_memory", shows="what every network keeps for the backward pass, and its usual form",
        quick=("--quick", "--patch", "6", "64", "64"), on_gpu=True,
    ),
    Benchmark(
        name="planner_memory", shows="predicted and measured memory of a training step", quick=("--quick",), on_gpu=True
    ),
    Benchmark(
        name="compiled_memory", shows="what the compiler keeps, beside the planner's count", quick=("--quick",)
    ),
    Benchmark(name="roofline", shows="training steps beside their floor", quick=("--quick",), on_gpu=True),
    Benchmark(name="commands", shows="processor seconds of the everyday commands", quick=("--quick",)),
    Benchmark(name="data_loading", shows="an epoch of stock nnU-Net and ours", quick=None, slow=True, on_gpu=True),
    Benchmark(name="inference", shows="a case through both predict commands", quick=None, slow=True),
    Benchmark(name="evaluation", shows="evaluation beside MONAI and nnU-Net", quick=None, slow=True),
    Benchmark(
        name="conversion", shows="conversion beside the floor", arguments=("--runs", "12x1", "172x1"), quick=None,
        slow=True,
    ),
    Benchmark(name="n4", shows="N4 on a known bias field", quick=None, slow=True),
    Benchmark(name="paper003_gmac", shows="paper 003's table of costs, counted again", quick=None, slow=True),
)  # fmt: skip
"""In the order of RESULTS.md. Of those that are slow, the page that is there is taken."""


def chosen(names: Sequence[str] | None, *, everything: bool, quick: bool) -> list[Benchmark]:
    """Return what is to be run."""
    there = [b for b in BENCHMARKS if b.script.is_file()]
    if names:
        return [b for b in there if b.name in names]
    if quick:
        return [b for b in there if b.quick is not None]
    return [b for b in there if everything or not b.slow]


def run(benchmark: Benchmark, *, pages: Path, quick: bool, device: str) -> bool:
    """Run one and keep its page; return whether it ended well."""
    command = benchmark.command(quick=quick, device=device)
    print(f"{benchmark.name}: {' '.join(command[1:]) or 'as it is'} …", flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{benchmark.name} failed; its page stays as it was:\n{done.stderr[-2000:]}", file=sys.stderr)
        return False
    keep(pages / f"{benchmark.name}.md", done.stdout)
    print(f"{benchmark.name}: {time.monotonic() - began:.0f} s", flush=True)
    return True


def keep(path: Path, text: str) -> None:
    """Write a page whole or not at all."""
    started = path.with_name(f".{path.name}.part")
    started.write_text(text.rstrip("\n") + "\n")
    started.replace(path)


def results(pages: Path) -> str:
    """Return RESULTS.md: all pages, their headings one level lower."""
    found = [(b, pages / f"{b.name}.md") for b in BENCHMARKS]
    there = [(b, path.read_text()) for b, path in found if path.is_file()]
    lines = [
        "# Measured",
        "",
        "Put together by `python benchmarks/run.py`. Every section is the page of one script and is made again by the "
        "command in it; it says on what machine it ran and how busy that was. Figures are medians, and ratios of "
        "ways that took turns in one run: compare within a table only. Where no GPU is named, none was used: memory "
        "is then counted, and time is that of a CPU.",
        "",
        *(f"- [{b.shows}](#{_anchor(_title(text))}): `benchmarks/{b.name}.py`" for b, text in there),
    ]
    missing = [b.name for b, path in found if b.script.is_file() and not path.is_file()]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    return "\n".join([*lines, *("\n" + _lowered(text).rstrip("\n") for _, text in there)]) + "\n"


def _title(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("# ")).removeprefix("# ")


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _lowered(text: str) -> str:
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines())


def main() -> None:
    """Run what is asked for and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[b.name for b in BENCHMARKS], metavar="NAME")
    parser.add_argument("--all", action="store_true", help="the slow ones as well")
    parser.add_argument("--quick", action="store_true", help="only show that they run; writes to a temporary folder")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--list", action="store_true", help="name them")
    parser.add_argument("--gather", action="store_true", help="run nothing, write RESULTS.md from the pages there are")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{b.name:<18} {b.shows}{' (slow)' if b.slow else ''}" for b in BENCHMARKS))
        return
    pages = Path(tempfile.mkdtemp(prefix="benchmarks-")) if given.quick else FOLDER
    what = [] if given.gather else chosen(given.only, everything=given.all, quick=given.quick)
    well = [run(b, pages=pages, quick=given.quick, device=given.device) for b in what]
    keep(pages / "RESULTS.md", results(pages))
    print(f"{pages / 'RESULTS.md'} ({len(what)} run, {well.count(False)} failed, load {os.getloadavg()[0]:.1f})")
    sys.exit(0 if all(well) else 1)


if __name__ == "__main__":
    main()
