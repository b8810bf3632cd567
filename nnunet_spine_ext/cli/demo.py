"""`nnunet_spine demo`: the whole path on a phantom, each stage by the function that its own command calls."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nnunet_spine_ext.errors import SetupError

DATASET_ID = 501
CONFIGURATION = "3d_fullres"
BUDGET = "_10epochs_20iterations"
CASES = 10
TEST_CASES = 2
SIZE = 96
SLICES = 8

# Both models: the same base class, schedule, patches and number of steps; only the network differs. nnU-Net itself has
# no trainer this short, hence SpineBaselineTrainer, which trains nnU-Net's own network by nnU-Net's own recipe.
MODELS = {"SpineHybrid": f"SpineHybridTrainer{BUDGET}", "stock nnU-Net": f"SpineBaselineTrainer{BUDGET}"}


def command(
    output: Annotated[Path, typer.Option("-o", help="Folder for everything the demo writes.")] = Path("spine_demo"),
) -> None:
    """Run the whole path on an embedded phantom: convert, plan, train two models, predict, evaluate, report, submit.

    CPU only, about ten minutes on two cores; after Ctrl-C the same command continues. The phantom is no patient: the
    numbers show that the path works, not which network is better.

    \b
    nnunet_spine demo -o spine_demo
    """
    run(output)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage: what it leaves behind tells whether it is done."""

    title: str
    same_as: str
    """The command that does the same."""
    done: Callable[[], bool]
    work: Callable[[], None]


def run(output: Path) -> None:
    """Run every stage that is not done yet, in `output`."""
    folder = output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _prepare_environment(folder)
    steps = list(_steps(folder))
    begin = time.monotonic()
    for number, step in enumerate(steps, start=1):
        print(f"\n[{number}/{len(steps)}] {step.title}\n      $ {step.same_as}", flush=True)
        if step.done():
            print("      done before", flush=True)
            continue
        step.work()
        if not step.done():
            raise SetupError(f"{step.title}: nothing came of it. See the messages above and {folder / 'logs'}.")
    print(_closing_words(folder, minutes=(time.monotonic() - begin) / 60))


def _prepare_environment(folder: Path) -> None:
    """Point nnU-Net at this folder only, and keep it small."""
    from nnunet_spine_ext.paths import make_trainers_findable

    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (folder / name).mkdir(exist_ok=True)
        os.environ[name] = str(folder / name)
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "2", "nnUNet_compile": "f"}
    make_trainers_findable()


def _steps(folder: Path) -> Iterator[Step]:
    dataset = folder / "nnUNet_raw" / f"Dataset{DATASET_ID}_MRSpineSeg"
    yield from _data_steps(folder, dataset)
    for model, trainer in MODELS.items():
        yield from _model_steps(folder, dataset, model, trainer)
    yield from _closing_steps(folder)


def _data_steps(folder: Path, dataset: Path) -> Iterator[Step]:
    phantom, preprocessed = folder / "phantom", folder / "nnUNet_preprocessed" / dataset.name
    yield Step(
        title="A phantom in the challenge's layout",
        same_as=f"nnunet_spine phantom {phantom.name} --cases {CASES} --size {SIZE} --slices {SLICES}",
        done=lambda: len(list(phantom.rglob("Case*.nii.gz"))) == CASES + TEST_CASES,
        work=lambda: _phantom(phantom),
    )
    yield Step(
        title="Convert it to nnU-Net raw format, without the empty background",
        same_as=f"nnunet_spine convert mrspineseg {phantom.name} -d {DATASET_ID} --crop",
        done=dataset.is_dir,
        work=lambda: _convert(phantom),
    )
    yield Step(
        title="nnU-Net's own planning and preprocessing",
        same_as=f"nnUNetv2_plan_and_preprocess -d {DATASET_ID} -c {CONFIGURATION} --verify_dataset_integrity",
        done=lambda: _preprocessed_cases(preprocessed) == CASES,
        work=lambda: _nnunet_preprocess(folder),
    )
    yield Step(
        title="A plan whose memory is counted for SpineHybrid",
        same_as=f"nnunet_spine plan -d {DATASET_ID} -tr SpineHybridTrainer -c {CONFIGURATION}",
        done=(preprocessed / "SpineHybridPlans.json").is_file,
        work=_plan,
    )


def _model_steps(folder: Path, dataset: Path, model: str, trainer: str) -> Iterator[Step]:
    name = f"{trainer}__nnUNetPlans__{CONFIGURATION}"
    fold = folder / "nnUNet_results" / dataset.name / name / "fold_0"
    predictions = folder / "predictions" / trainer
    metrics = _metrics_file(folder, trainer)
    yield Step(
        title=f"Train {model} and validate it on the cases left out of fold 0",
        same_as=f"nnunet_spine train {DATASET_ID} {CONFIGURATION} 0 -tr {trainer} -device cpu",
        done=(fold / "validation" / "summary.json").is_file,
        work=lambda: _train(folder, trainer, fold),
    )
    yield Step(
        title=f"Predict the test images with {model}",
        same_as=f"nnunet_spine predict -i imagesTs -o {predictions.name} -d {DATASET_ID} -tr {trainer} …",
        done=lambda: len(list(predictions.glob("*.nii.gz"))) == TEST_CASES,
        work=lambda: _predict(folder, trainer, dataset / "imagesTs", predictions),
    )
    yield Step(
        title=f"Evaluate {model} on the cases left out",
        same_as=f"nnunet_spine evaluate -d {DATASET_ID} -i fold_0/validation -o {metrics.name}",
        done=metrics.is_file,
        work=lambda: _evaluate(fold / "validation", model, metrics),
    )


def _closing_steps(folder: Path) -> Iterator[Step]:
    metrics = [_metrics_file(folder, trainer) for trainer in MODELS.values()]
    yield Step(
        title="One page that compares the two",
        same_as=f"nnunet_spine report {' '.join(m.name for m in metrics)} -o report.html",
        done=(folder / "report.html").is_file,
        work=lambda: _report(metrics, folder / "report.html"),
    )
    trainer = MODELS["SpineHybrid"]
    yield Step(
        title="The challenge's zip, checked",
        same_as="nnunet_spine submit -i predictions -r phantom/test1/MR -o submission.zip",
        done=(folder / "submission.zip").is_file,
        work=lambda: _submit(folder, folder / "predictions" / trainer),
    )


def _phantom(target: Path) -> None:
    from nnunet_spine_ext.data.phantom import write_phantom

    write_phantom(target, cases=CASES, test_cases=TEST_CASES, size=SIZE, slices=SLICES, seed=0)


def _convert(phantom: Path) -> None:
    from nnunet_spine_ext.cli.convert import find_converters

    find_converters().convert("mrspineseg", phantom, dataset_id=DATASET_ID, crop=True, processes=2)


def _plan() -> None:
    from nnunet_spine_ext.planning.planner import plan

    plan(DATASET_ID, trainer="SpineHybridTrainer", configurations=[CONFIGURATION])


def _evaluate(validation: Path, model: str, output: Path) -> None:
    from nnunet_spine_ext.evaluation.dataset import evaluate_dataset

    evaluate_dataset(DATASET_ID, validation, output=output, model=model)


def _report(metrics: Sequence[Path], output: Path) -> None:
    from nnunet_spine_ext.report.html import write_report

    write_report(metrics, output, title="Demo: SpineHybrid and stock nnU-Net on a phantom")


def _submit(folder: Path, predictions: Path) -> None:
    from nnunet_spine_ext.report.submission import write_submission

    write_submission(predictions, folder / "phantom" / "test1" / "MR", folder / "submission.zip")


def _nnunet_preprocess(folder: Path) -> None:
    entry = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:plan_and_preprocess_entry"
    arguments = ["-d", str(DATASET_ID), "-c", CONFIGURATION, "--verify_dataset_integrity", "-np", "2", "-npfp", "2"]
    _call(_entry_point(entry, arguments), log=folder / "logs" / "preprocess.txt")


def _train(folder: Path, trainer: str, fold: Path) -> None:
    begun = any(fold.glob("checkpoint_*.pth"))
    arguments = [str(DATASET_ID), CONFIGURATION, "0", "-tr", trainer, "-device", "cpu", *(["--c"] if begun else [])]
    _call(_ours("train", arguments), log=folder / "logs" / f"train_{trainer}.txt")


def _predict(folder: Path, trainer: str, images: Path, output: Path) -> None:
    model = ["-d", str(DATASET_ID), "-c", CONFIGURATION, "-tr", trainer, "-f", "0"]
    arguments = ["-i", str(images), "-o", str(output), *model, "-device", "cpu", "-npp", "1", "-nps", "1"]
    _call(_ours("predict", arguments), log=folder / "logs" / f"predict_{trainer}.txt")


def _ours(subcommand: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "nnunet_spine_ext", subcommand, *arguments]


def _entry_point(entry: str, arguments: Sequence[str]) -> list[str]:
    """Return nnU-Net's command without its script, which need not be on the PATH."""
    module, function = entry.split(":")
    return [sys.executable, "-c", f"from {module} import {function}; {function}()", *arguments]


# What of nnU-Net's output tells how far it is; the log files hold all of it.
_PROGRESS = re.compile(r"Epoch \d+$|train_loss|Epoch time|Validation complete|Mean Validation Dice|Pseudo dice")
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ")


def _call(arguments: Sequence[str], *, log: Path) -> None:
    """Run a command in a process of its own: nnU-Net's worker processes and settings must not outlive the stage."""
    log.parent.mkdir(exist_ok=True)
    with log.open("a") as file:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if _PROGRESS.search(line):
                print(f"      {_TIMESTAMP.sub('', line.strip())[:110]}", flush=True)
        code = process.wait()
    if code != 0:
        ending = "\n".join(log.read_text().splitlines()[-15:])
        raise SetupError(f"This stage ended with exit code {code}. The end of {log}:\n{ending}")


def _preprocessed_cases(folder: Path) -> int:
    return len(list(folder.glob(f"nnUNetPlans_{CONFIGURATION}/*.pkl")))


def _metrics_file(folder: Path, trainer: str) -> Path:
    return folder / f"metrics_{trainer.split('Trainer')[0]}.csv"


def _closing_words(folder: Path, *, minutes: float) -> str:
    return (
        f"\nDone in {minutes:.1f} minutes. Everything is in {folder}:\n"
        f"  report       {folder / 'report.html'}  (open it in a browser)\n"
        f"  submission   {folder / 'submission.zip'}\n"
        f"  metrics      {folder / 'metrics_SpineHybrid.csv'} and its sibling\n"
        f"  trained      {folder / 'nnUNet_results'}\n"
        f"  logs         {folder / 'logs'}\n"
        "A phantom is no patient, and these 200 steps are less than a thousandth of nnU-Net's own 250 000: the\n"
        "numbers show that the path works, not which network is better. (So early, a network may still call\n"
        "everything background.)"
    )
