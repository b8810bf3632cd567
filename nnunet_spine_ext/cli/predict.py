"""`nnunet_spine predict`."""

from __future__ import annotations

import typer

# Every argument, -h included, goes to nnU-Net as it stands.
SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def command(context: typer.Context) -> None:
    """Predict as nnUNetv2_predict does, with its arguments and less memory; crops of the converter are undone.

    \b
    nnunet_spine predict -i imagesTs -o predictions -d 501 -c 3d_fullres -f 0 -tr SpineHybridTrainer -p SpineHybridPlans
    """
    from nnunet_spine_ext.training.entry import predict

    predict(context.args)
