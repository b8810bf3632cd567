"""Where our files lie, and the folders that nnU-Net's environment variables name."""

from __future__ import annotations

import os
from pathlib import Path

from nnunet_spine_ext.errors import SetupError

TRAINERS_VARIABLE = "nnUNet_extTrainer"


def trainers_dir() -> Path:
    """Return the folder to put into `nnUNet_extTrainer`.

    In an installed wheel the trainers lie inside the package, in a checkout (and in an editable install) beside it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "trainers", package.parent / "trainers"):
        if any(folder.glob("spine_*.py")):
            return folder
    raise SetupError(
        f"The trainers are missing: neither {package / 'trainers'} nor {package.parent / 'trainers'} holds spine_*.py. "
        "Reinstall nnunet_spine_ext."
    )


def make_trainers_findable() -> None:
    """Put our folder first into `nnUNet_extTrainer`, keeping what is there (nnU-Net reads the variable at look-up)."""
    ours = str(trainers_dir())
    theirs = [p for p in os.environ.get(TRAINERS_VARIABLE, "").split(os.pathsep) if p and p != ours]
    os.environ[TRAINERS_VARIABLE] = os.pathsep.join([ours, *theirs])


def nnunet_folder(variable: str) -> Path:
    """Return the folder that `nnUNet_raw`, `nnUNet_preprocessed` or `nnUNet_results` names.

    Raises:
        SetupError: the variable is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise SetupError(f"The environment variable {variable} is not set. Set it to a folder: export {variable}=/path")
    return Path(value)


def dataset_folder(dataset_id: int, *, variable: str = "nnUNet_raw") -> Path:
    """Return `Dataset<ID>_<Name>` under the folder that `variable` names.

    Raises:
        SetupError: no such dataset, or more than one with that id.
    """
    root = nnunet_folder(variable)
    found = sorted(root.glob(f"Dataset{dataset_id:03d}_*"))
    if len(found) != 1:
        names = ", ".join(f.name for f in found) or "none"
        raise SetupError(f"Expected one Dataset{dataset_id:03d}_* in {root} ({variable}), found {names}.")
    return found[0]
