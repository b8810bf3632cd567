"""`nnunet_spine train`."""

from __future__ import annotations

import typer

# Every argument, -h included, goes to nnU-Net as it stands.
SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def command(context: typer.Context) -> None:
    """Train as nnUNetv2_train does, with its arguments; our trainers are found.

    \b
    nnunet_spine train 501 3d_fullres 0 -tr SpineHybridTrainer -p SpineHybridPlans
    """
    from nnunet_spine_ext.training.entry import train

    train(context.args)
