"""Stock nnU-Net under our base class: what every network of ours is compared with."""

from __future__ import annotations

from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineBaselineTrainer(SpineTrainer):
    """The network that the plan names, trained exactly as our networks are.

    Tests: nothing of ours but the base class, so a difference between a network of ours and this trainer is the
    network. It differs from `nnUNetTrainer` only where ordered labels forbid mirroring along the spine.
    Costs: what nnU-Net costs; not measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineBaselineTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineBaselineTrainer -p nnUNetResEncUNetLPlans
    """


__getattr__ = epoch_variants(globals())
