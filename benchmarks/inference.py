"""One 20-class case of 12 x 880 x 880 through nnUNetv2_predict and through `nnunet_spine predict`.

    python benchmarks/inference.py [--rounds 1] [--workers 3 0] [--settings 0 1 2]  >  benchmarks/inference.md

The case is a phantom of the challenge's size. The model is nnU-Net's own network, three stages of 4, 8 and 16 features
with random weights: what is measured is everything but the network, which is the same in both. The label maps of both
commands are compared; a difference ends the run. Processor seconds and memory are those of the process and of all that
it starts. Memory is the proportional set size (pages that processes share are divided among them), looked at every
0.2 s in /proc (Linux). The ways take turns within every round.

Two further tables: where nnU-Net's export spends seconds and memory (one process, logits of random values), and one
forward pass of stock nnU-Net's network and of SpineHybrid at full width.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from inference_case import CLASSES, DATASET, Setting, make_plans, write_case, write_model

MB = 2**20


SETTINGS = (
    Setting(name="as the image: nothing is resampled", in_plane=1, across=1),
    Setting(name="1.25 times as large in the plane", in_plane=1.25, across=1),
    Setting(name="1.25 times as large in the plane, slices 1.2 times as far apart", in_plane=1.25, across=1.2),
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A command and its workers."""

    name: str
    script: tuple[str, ...]
    """In the folder of this Python; nnU-Net's workers import what it imports."""
    workers: int

    def command(self, images: Path, out: Path) -> list[str]:
        """Return the command line."""
        program = [str(Path(sys.executable).parent / self.script[0]), *self.script[1:]]
        files = ["-i", str(images), "-o", str(out), "-d", DATASET, "-c", "3d_fullres", "-f", "0", "-device", "cpu"]
        few_windows = ["-step_size", "1", "--disable_tta", "--disable_progress_bar"]
        return [*program, *files, *few_windows, "-npp", str(self.workers), "-nps", str(self.workers)]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of a command."""

    seconds: float
    processor_seconds: float
    peak_bytes: int


def measure(command: Sequence[str], environment: dict[str, str]) -> Measured:
    """Run a command; it and its children are watched."""
    with tempfile.TemporaryFile("w+") as said:
        start, peak = time.perf_counter(), 0
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, sum(proportional_bytes(pid) for pid in family(process.pid)))
            time.sleep(0.2)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read()}")
    return Measured(seconds=seconds, processor_seconds=used.ru_utime + used.ru_stime, peak_bytes=peak)


def family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process, shared pages divided among those that share them; 0 if it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().partition("Pss:")[2].split()[0]) * 1024
    return 0


# ---- whole commands ---------------------------------------------------------------------------------------------


def report_commands(
    scratch: Path,
    images: Path,
    settings: Sequence[Setting],
    *,
    rounds: int,
    workers: Sequence[int],
    patch: Sequence[int],
) -> None:
    """Measure both commands in turn and print their table."""
    ways = [
        Way(name=" ".join(script), script=script, workers=count)
        for count in workers
        for script in (("nnUNetv2_predict",), ("nnunet_spine", "predict"))
    ]
    print("\n## The whole command, one case\n")
    print("| the plan's voxels | way | -npp, -nps | seconds | processor seconds | peak memory MB | label map |")
    print("|---|---|---:|---:|---:|---:|---|")
    for setting in settings:
        results = Path(tempfile.mkdtemp(dir=scratch))
        write_model(results, images, setting, patch=patch)
        (raw := scratch / "raw" / DATASET).mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "nnUNet_results": str(results), "nnUNet_raw": str(raw.parent)}
        runs: dict[Way, list[Measured]] = {way: [] for way in ways}
        maps: dict[Way, np.ndarray] = {}
        for _ in range(rounds):
            for way in ways:
                out = Path(tempfile.mkdtemp(dir=scratch))
                runs[way].append(measure(way.command(images, out), environment))
                maps[way] = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "case1.nii.gz")))
                print(f"{setting.name}, {way.name} {way.workers}: {runs[way][-1]}", file=sys.stderr, flush=True)
        for way in ways:
            if not np.array_equal(maps[way], maps[ways[0]]):
                raise SystemExit(f"The label maps differ: {way}, {setting}")
            print(row(setting, way, runs[way], labels=len(np.unique(maps[way]))), flush=True)


def row(setting: Setting, way: Way, runs: Sequence[Measured], *, labels: int) -> str:
    """Return a line of the table: medians."""
    seconds, used, peak = (
        statistics.median(getattr(run, key) for run in runs) for key in ("seconds", "processor_seconds", "peak_bytes")
    )
    same = f"the same, {labels} labels"
    return f"| {setting.name} | {way.name} | {way.workers} | {seconds:.1f} | {used:.1f} | {peak / MB:.0f} | {same} |"


# ---- the steps of the export ------------------------------------------------------------------------------------


def report_steps(setting: Setting, *, size: int, slices: int) -> None:
    """Print where the export of one case spends seconds and memory, nnU-Net's and ours, on random logits."""
    import torch
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine_ext.inference.label_maps import Model, label_map

    torch.set_num_threads(1)
    image, plan = (4.4, 0.35, 0.35), (4.4 * setting.across, 0.35 * setting.in_plane, 0.35 * setting.in_plane)
    manager = PlansManager(make_plans(plan, (12, 64, 64)))
    labels = manager.get_label_manager({"labels": {"background": 0, **{str(i): i for i in range(1, CLASSES)}}})
    model = Model(plans=manager, configuration=manager.get_configuration("3d_fullres"), labels=labels)
    target = (slices, size, size)
    shape = [round(n * a / b) for n, a, b in zip(target, image, plan, strict=True)]
    logits = np.random.default_rng(0).standard_normal((CLASSES, *shape), dtype=np.float32).astype(np.float16)
    properties = {
        "spacing": image,
        "shape_after_cropping_and_before_resampling": target,
        "shape_before_cropping": target,
        "bbox_used_for_cropping": [[0, n] for n in target],
    }
    held: dict[str, Any] = {}

    def resample() -> None:
        held["logits"] = model.configuration.resampling_fn_probabilities(logits, target, plan, image)

    def decide() -> None:
        held["labels"] = labels.convert_logits_to_segmentation(held["logits"])

    def lean() -> None:
        held["lean"] = label_map(logits, properties, model=model)

    for name, step in (("nnU-Net: resample all classes", resample), ("nnU-Net: arg-max", decide)):
        print(f"| {setting.name} | {name} | {timed(step)} |", flush=True)
    del held["logits"]
    print(f"| {setting.name} | ours: both, class by class | {timed(lean)} |", flush=True)
    if not np.array_equal(held["labels"], held["lean"]):
        raise SystemExit("The label maps differ.")


def timed(step: Callable[[], None]) -> str:
    """Return the processor seconds of a step and the memory that it took at its peak beyond what was there before."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start = memory("VmRSS"), time.process_time()
    step()
    return f"{time.process_time() - start:.1f} | {(memory('VmHWM') - before) / MB:.0f}"


def memory(key: str) -> int:
    """Return a figure of /proc/self/status in bytes."""
    return int(Path("/proc/self/status").read_text().partition(f"{key}:")[2].split()[0]) * 1024


# ---- networks ---------------------------------------------------------------------------------------------------


def report_networks(patch: Sequence[int]) -> None:
    """Print one forward pass of stock nnU-Net's network and of SpineHybrid, in turn, best of two."""
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    from nnunet_spine_ext.networks.default_plan import default_architecture
    from nnunet_spine_ext.networks.registry import build

    torch.set_num_threads(os.cpu_count() or 1)
    words = default_architecture(patch)
    stock = PlainConvUNet(input_channels=1, num_classes=CLASSES, deep_supervision=False, **words)
    hybrid = build("hybrid", input_channels=1, num_classes=CLASSES, architecture=words, deep_supervision=False)
    networks: dict[str, nn.Module] = {"PlainConvUNet (stock)": stock, "SpineHybrid": hybrid}
    window = torch.zeros(1, 1, *patch)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    peaks: dict[str, int] = {}
    for _ in range(2):
        for name, network in networks.items():
            Path("/proc/self/clear_refs").write_text("5")
            before, start = memory("VmRSS"), time.process_time()
            with torch.inference_mode():
                network.eval()(window)
            seconds[name].append(time.process_time() - start)
            peaks[name] = memory("VmHWM") - before
    print(f"\n## One window of {' x '.join(map(str, patch))} at full width\n")
    print("| network | parameters, millions | processor seconds, the better of two | beyond the weights, MB |")
    print("|---|---:|---:|---:|")
    for name, network in networks.items():
        count = sum(p.numel() for p in network.parameters()) / 1e6
        print(f"| {name} | {count:.1f} | {min(seconds[name]):.1f} | {peaks[name] / MB:.0f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[3, 0], help="0: one process, no workers")
    parser.add_argument("--settings", type=int, nargs="+", default=[0, 1, 2], help="of the whole command")
    parser.add_argument("--size", type=int, default=880)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--patch", type=int, nargs=3, default=[12, 448, 448])
    parser.add_argument("--window", type=int, nargs=3, default=[12, 256, 256], help="for the networks at full width")
    parser.add_argument("--scratch", type=Path, help="write here")
    parser.add_argument("--step", choices=[setting.name for setting in SETTINGS], help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.step:  # in a process of its own
        (setting,) = (setting for setting in SETTINGS if setting.name == settings.step)
        report_steps(setting, size=settings.size, slices=settings.slices)
        return
    loads = [os.getloadavg()[0]]
    print("# Inference of one case of the challenge's size, 20 classes\n")
    print("## The export alone: one process, one thread, random logits\n")
    print("| the plan's voxels | step | processor seconds | peak memory beyond the logits, MB |")
    print("|---|---|---:|---:|", flush=True)
    for setting in SETTINGS:
        shape = ["--size", str(settings.size), "--slices", str(settings.slices)]
        subprocess.run([sys.executable, __file__, "--step", setting.name, *shape], check=True)
        loads.append(os.getloadavg()[0])
    with tempfile.TemporaryDirectory(dir=settings.scratch) as temporary:
        scratch = Path(temporary)
        images = write_case(scratch, size=settings.size, slices=settings.slices)
        report_commands(
            scratch,
            images,
            [SETTINGS[number] for number in settings.settings],
            rounds=settings.rounds,
            workers=settings.workers,
            patch=settings.patch,
        )
    loads.append(os.getloadavg()[0])
    report_networks(settings.window)
    loads.append(os.getloadavg()[0])
    chosen = " ".join(map(str, settings.settings))
    workers, window = (" ".join(map(str, numbers)) for numbers in (settings.workers, settings.window))
    options = f"--rounds {settings.rounds} --workers {workers} --settings {chosen} --window {window}"
    print(closing_words(loads, options=options))


def closing_words(loads: Sequence[float], *, options: str) -> str:
    """Say what was measured, and where."""
    import scipy
    import skimage
    import torch

    return (
        f"\nMade by `python benchmarks/inference.py {options}`. The network has 4 to 16 features and sees "
        "four windows without mirroring, so that nearly everything but the network is left. Processor seconds are "
        "those of all processes, their start included (each of nnU-Net's workers imports torch anew). Memory: "
        "proportional set size of all processes together at its highest, the logits (372 MB at the size of the image) "
        "included. "
        f"{platform.machine()}, {os.cpu_count()} processors shared with other work: load average {min(loads):.1f} to "
        f"{max(loads):.1f} meanwhile, so compare processor seconds rather than seconds. torch {torch.__version__}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-image {skimage.__version__}."
    )


if __name__ == "__main__":
    main()
