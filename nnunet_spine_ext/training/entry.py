"""nnU-Net's own commands with our trainers found: its arguments, unchanged, its entry points, its files.

Nothing here imports nnU-Net before it is called. `nnUNet_extTrainer` is set first, because the workers and the DDP
processes that nnU-Net starts inherit it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from nnunet_spine_ext.data.cropping import CROPS_FILE, read_crops, restore_folder
from nnunet_spine_ext.data.turning_back import RECORD_FILE, turn_back_folder, turned_grids
from nnunet_spine_ext.errors import DataError, SetupError
from nnunet_spine_ext.paths import TRAINERS_VARIABLE, make_trainers_findable, trainers_dir

TRAIN_NOTE = "The arguments are those of nnUNetv2_train; the trainers of nnunet_spine_ext are found without more ado."
PREDICT_NOTE = (
    "The arguments are those of nnUNetv2_predict; the trainers of nnunet_spine_ext are found without more ado. "
    "The label maps are the same; they are made with less memory, in threads (-npp, -nps) instead of processes. "
    f"If {CROPS_FILE} lies beside the input folder, label maps are put back onto the whole images; if {RECORD_FILE} of "
    "`nnunet_spine prepare` lies in it, they are turned back onto the axes of the originals."
)


def train(arguments: Sequence[str]) -> None:
    """Run `nnUNetv2_train` with `arguments`.

    Raises:
        SetupError: the trainer is not found, or a variable of nnU-Net's is not set.
        SystemExit: as nnU-Net's argument parser ends: 0 after -h, 2 for wrong usage.
    """
    make_trainers_findable()
    if _asks_for_help(arguments):
        print(TRAIN_NOTE)
    from nnunetv2.run.run_training import run_training_entry

    _run(
        run_training_entry,
        command="nnunet_spine train",
        arguments=arguments,
        variables=("nnUNet_preprocessed", "nnUNet_results"),
    )


def predict(arguments: Sequence[str]) -> None:
    """Run `nnUNetv2_predict` with `arguments`, then undo the converter's crop on the label maps it wrote.

    Raises:
        SetupError: the trainer named by the checkpoint is not found, a variable of nnU-Net's is not set, or the input
            folder holds no image.
        DataError: label maps are missing, or lie neither on the cropped nor on the whole image.
        SystemExit: as nnU-Net's argument parser ends: 0 after -h, 2 for wrong usage.
    """
    make_trainers_findable()
    if _asks_for_help(arguments):
        print(PREDICT_NOTE)
    _run(_prediction(), command="nnunet_spine predict", arguments=arguments, variables=("nnUNet_results",))
    job = _PredictionJob.of(arguments)
    job.check_complete()
    job.restore()


def _prediction() -> Callable[[], None]:
    """Return nnU-Net's own command with our predictor in it; without, where its release has no place for one."""
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point

    from nnunet_spine_ext.inference.rebinding import RebindingError, rebound

    try:
        from nnunet_spine_ext.inference.predictor import LeanPredictor

        return rebound(predict_entry_point, nnUNetPredictor=LeanPredictor)
    except RebindingError as error:
        print(f"nnU-Net's own predictor is used, which takes more memory: {error}.")
        command: Callable[[], None] = predict_entry_point
        return command


def _asks_for_help(arguments: Sequence[str]) -> bool:
    return "-h" in arguments or "--help" in arguments


def _run(entry_point: Callable[[], None], *, command: str, arguments: Sequence[str], variables: Sequence[str]) -> None:
    """Call nnU-Net; turn its two commonest failures, an unset variable and an unknown trainer, into words."""
    with _command_line([command, *arguments]):
        try:
            entry_point()
        except Exception as error:
            unset = [variable for variable in variables if not os.environ.get(variable)]
            if unset:
                raise SetupError(f"Not set: {', '.join(unset)}. For each: export {unset[0]}=/path") from error
            unknown = re.search(r"Could not find requested nnunet trainer (\S+)", str(error))
            if unknown:
                raise SetupError(_not_found(unknown[1])) from error
            raise


@contextmanager
def _command_line(arguments: list[str]) -> Iterator[None]:
    """Give nnU-Net's parsers, which read `sys.argv`, these arguments."""
    before, sys.argv = sys.argv, arguments
    try:
        yield
    finally:
        sys.argv = before


def _not_found(trainer: str) -> str:
    """Say where a trainer was looked for, and which trainers there are."""
    ours = sorted(n for f in trainers_dir().glob("spine_*.py") for n in _trainer_classes(f))
    near = get_close_matches(trainer, ours, n=1)
    folders = [p for p in os.environ.get(TRAINERS_VARIABLE, "").split(os.pathsep) if p]
    absent = [p for p in folders if not Path(p).is_dir()]
    return "\n".join(
        [
            f"No trainer is called {trainer}: neither nnU-Net nor {TRAINERS_VARIABLE} ({os.pathsep.join(folders)}) "
            "has it.",
            *(f"Did you mean {name}?" for name in near),
            *(f"The folder {p} in {TRAINERS_VARIABLE} does not exist." for p in absent),
            f"Ours are {', '.join(ours)}; each also as <name>_<N>epochs.",
            "If a checkpoint asks for it, install the package that trained the model, in the release it names "
            "(init_args in the checkpoint, provenance in debug.json), or put its folder into the variable.",
        ]
    )


def _trainer_classes(source: Path) -> list[str]:
    return re.findall(r"^class (\w+)\(", source.read_text(), re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class _PredictionJob:
    """What a call of nnUNetv2_predict had to write."""

    images: Path
    predictions: Path
    part: int
    parts: int
    probabilities: bool

    @classmethod
    def of(cls, arguments: Sequence[str]) -> _PredictionJob:
        """Read what nnU-Net records of a call in its output folder; of the arguments, only which folder that is."""
        # With more options than -o, argparse would take some of nnU-Net's for abbreviations of ours.
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument("-o", type=Path)
        predictions: Path = parser.parse_known_args(arguments)[0].o
        record = json.loads((predictions / "predict_from_raw_data_args.json").read_text())
        return cls(
            images=Path(record["list_of_lists_or_source_folder"]),
            predictions=predictions,
            part=record.get("part_id", 0),
            parts=record.get("num_parts", 1),
            probabilities=record["save_probabilities"],
        )

    @property
    def file_ending(self) -> str:
        """File ending of images and label maps, from the dataset.json that nnU-Net leaves beside the predictions."""
        return str(json.loads((self.predictions / "dataset.json").read_text())["file_ending"])

    def check_complete(self) -> None:
        """Raise if there was nothing to predict or a label map is missing; nnU-Net ends quietly in both cases."""
        ending = self.file_ending
        names = {p.name for p in self.images.iterdir()}
        cases = sorted({m[1] for n in names if (m := re.fullmatch(rf"(.+)_\d{{4}}{re.escape(ending)}", n))})
        if not cases:
            raise SetupError(f"{self.images} holds no image: expected files called <case>_0000{ending}.")
        wanted = [self.predictions / f"{case}{ending}" for case in cases[self.part :: self.parts]]
        absent = [p for p in wanted if not p.is_file()]
        if absent:
            names_absent = ", ".join(p.name for p in absent)
            raise DataError.of(self.predictions, f"nnU-Net wrote no {names_absent}", "See its messages above.")

    def restore(self) -> None:
        """Put the label maps back onto the images as they were before `prepare` turned them or `--crop` cut them."""
        self._turn_back()
        self._undo_crop()

    def _turn_back(self) -> None:
        record = self.images / RECORD_FILE
        if not record.is_file():
            return
        originals = turned_grids(record, file_ending=self.file_ending)
        turned = turn_back_folder(self.predictions, originals, file_ending=self.file_ending)
        print(f"{len(turned)} label maps in {self.predictions} turned back onto the axes of the originals ({record}).")
        if self.probabilities and turned:
            print(f"WARNING: the .npz probabilities in {self.predictions} keep the turned axes.", file=sys.stderr)

    def _undo_crop(self) -> None:
        crops_file = self.images.resolve().parent / CROPS_FILE
        if not crops_file.is_file():
            return
        restored = restore_folder(self.predictions, read_crops(crops_file), file_ending=self.file_ending)
        print(f"{len(restored)} label maps in {self.predictions} put back onto the whole images ({crops_file}).")
        if self.probabilities:
            print(f"WARNING: the .npz probabilities in {self.predictions} stay on the cropped images.", file=sys.stderr)
