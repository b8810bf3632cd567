"""`nnunet_spine trainers-dir`."""

from __future__ import annotations

from nnunet_spine_ext.paths import trainers_dir


def command() -> None:
    """Print the folder of our trainers, for nnU-Net's own commands.

    \b
    export nnUNet_extTrainer="$(nnunet_spine trainers-dir)"
    nnUNetv2_train 501 3d_fullres 0 -tr SpineHybridTrainer
    """
    print(trainers_dir())
