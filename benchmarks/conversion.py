"""Cases per second and peak memory of `nnunet_spine convert`, beside the floor.

    python benchmarks/conversion.py [--runs 24x3 172x1] [--scratch FOLDER]  >  benchmarks/conversion.md

Phantom cases of the challenge's size (12 slices of 880 x 880, int16, and their masks) in its folders. A few spines are
rendered and hard-linked under as many case numbers as are asked for; no two numbers share a file that is written.
The floor reads image and mask with SimpleITK and writes both as .nii.gz, with nothing in between: no checks, no
checksums, no log. All runs are processes of their own, start-up included; the ways take turns within every round.
Memory is the resident memory of the process and all its children together, looked at every 50 ms in /proc (Linux);
pages that they share count more than once.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from nnunet_spine_ext.data.parallel import in_parallel
from nnunet_spine_ext.data.phantom import SETTINGS_FILE, write_phantom

MB = 2**20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to get from the download to files for nnU-Net."""

    name: str
    processes: int
    floor: bool = False
    options: tuple[str, ...] = ()

    def command(self, source: Path, out: Path) -> list[str]:
        """Return the command line."""
        if self.floor:
            return [sys.executable, __file__, "--floor", str(source), str(out), "--processes", str(self.processes)]
        arguments = ["mrspineseg", str(source), "-d", "501", "-o", str(out), "-np", str(self.processes)]
        return [sys.executable, "-m", "nnunet_spine_ext", "convert", *arguments, *self.options]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run."""

    seconds: float
    peak_bytes: int


WAYS = tuple(
    way
    for processes in (1, 2)
    for way in (
        Way(name="floor: read, gzip, write", processes=processes, floor=True),
        Way(name="convert", processes=processes),
        Way(name="convert --crop", processes=processes, options=("--crop",)),
    )
)


def copy_plainly(task: tuple[Path, Path]) -> None:
    """Read a file and write it compressed: the floor."""
    source, target = task
    sitk.WriteImage(sitk.ReadImage(str(source)), str(target), useCompression=True)


def run_floor(source: Path, out: Path, processes: int) -> None:
    """Do for every image and mask the least that any conversion must."""
    out.mkdir(parents=True)
    files = sorted((source / "train").glob("*/*.nii.gz"))
    in_parallel(copy_plainly, [(path, out / path.name) for path in files], processes=processes, description="Floor")


def make_source(scratch: Path, *, cases: int, distinct: int, size: int, slices: int) -> Path:
    """Render `distinct` spines and link them under `cases` numbers; finished ones are kept."""
    phantom, source = scratch / "phantom", scratch / f"{cases}_cases"
    write_phantom(phantom, cases=distinct, test_cases=0, size=size, slices=slices, processes=2)
    images = sorted((phantom / "train/MR").iterdir())
    for number in range(1, cases + 1):
        image = images[number % len(images)]
        mask = phantom / "train/Mask" / f"mask_{image.name.lower()}"
        for original, link in ((image, f"MR/Case{number}.nii.gz"), (mask, f"Mask/mask_case{number}.nii.gz")):
            target = source / "train" / link
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(original, target)
    shutil.copyfile(phantom / SETTINGS_FILE, source / SETTINGS_FILE)
    return source


def measure(way: Way, source: Path, scratch: Path) -> Measured:
    """Run one way once."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder, tempfile.TemporaryFile("w+") as said:
        start, peak = time.perf_counter(), 0
        process = subprocess.Popen(way.command(source, Path(folder) / "out"), stdout=said, stderr=said)
        while process.poll() is None:
            peak = max(peak, sum(resident_bytes(pid) for pid in family(process.pid)))
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{way.name} failed:\n{said.read()}")
        return Measured(seconds=seconds, peak_bytes=peak)


def family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from family(int(child))


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def row(way: Way, runs: Sequence[Measured], *, cases: int, floor_seconds: float) -> str:
    """Return a line of the table."""
    seconds = statistics.median(run.seconds for run in runs)
    spread = f"{min(run.seconds for run in runs):.1f} to {max(run.seconds for run in runs):.1f}"
    peak = statistics.median(run.peak_bytes for run in runs) / MB
    ratio = f"{floor_seconds / seconds:.2f}"
    return f"| {way.name} | {way.processes} | {seconds:.1f} | {spread} | {cases / seconds:.2f} | {ratio} | {peak:.0f} |"


def report(source: Path, scratch: Path, *, cases: int, rounds: int) -> None:
    """Measure all ways in turn and print the table."""
    runs: dict[Way, list[Measured]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            runs[way].append(measure(way, source, scratch))
            print(f"{way.name}, {way.processes} processes: {runs[way][-1]}", file=sys.stderr, flush=True)
    floors = {w.processes: statistics.median(run.seconds for run in runs[w]) for w in WAYS if w.floor}
    print(f"\n## {cases} cases, {rounds} {'round' if rounds == 1 else 'rounds'}\n")
    print("| way | workers | seconds, median | all rounds | cases per second | against the floor | peak memory MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for way in WAYS:
        print(row(way, runs[way], cases=cases, floor_seconds=floors[way.processes]), flush=True)


def main() -> None:
    """Print the table, or be the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=cases_and_rounds, default=[(24, 3)], metavar="CASESxROUNDS")
    parser.add_argument("--distinct", type=int, default=12, help="spines that are rendered")
    parser.add_argument("--size", type=int, default=880)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--scratch", type=Path, help="keep the phantoms here, and write here")
    parser.add_argument("--floor", nargs=2, type=Path, metavar=("SOURCE", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.floor:
        source, out = settings.floor
        run_floor(source, out, settings.processes)
        return
    print("# Conversion of phantom cases of the challenge's size\n")
    print("    python benchmarks/conversion.py --runs", *(f"{cases}x{rounds}" for cases, rounds in settings.runs))
    with tempfile.TemporaryDirectory() as temporary:
        scratch = settings.scratch or Path(temporary)
        for cases, rounds in settings.runs:
            source = make_source(
                scratch, cases=cases, distinct=settings.distinct, size=settings.size, slices=settings.slices
            )
            report(source, scratch, cases=cases, rounds=rounds)
    print(
        f"\n{settings.distinct} spines of {settings.slices} × {settings.size} × {settings.size} voxels under all "
        "numbers; each time includes the start of Python. `convert` keeps published .nii.gz images byte by byte, so it "
        "compresses masks only; with `--crop` it writes every image anew, as the floor does. It reads every file twice "
        "(all is checked before anything is written) and takes checksums of all it reads and writes; the floor reads "
        "once. "
        "Peak memory: resident memory of all processes together, shared pages counted in each. "
        f"{platform.machine()}, {os.cpu_count()} processors shared with other work (load average at the end "
        f"{os.getloadavg()[2]:.1f}): compare within a table only. "
        f"SimpleITK {sitk.Version.VersionString()}."
    )


def cases_and_rounds(words: str) -> tuple[int, int]:
    """Return the two numbers of `24x3`."""
    cases, rounds = words.split("x")
    return int(cases), int(rounds)


if __name__ == "__main__":
    main()
