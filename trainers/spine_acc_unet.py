"""ACC-UNet, a parent of paper 000's hybrid: the one whose HANC blocks the hybrid has in its links.

`SpineACCUNetTrainer` is the network under nnU-Net's own recipe, on any plan. Paper 000 did not train it.
"""

from __future__ import annotations

from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineACCUNetTrainer(SpineTrainer):
    """ACC-UNet with the stages of the plan; one third of the published channels inside its blocks.

    Tests: do comparisons of neighbourhoods and skip connections of several levels beat nnU-Net's own network
    (`SpineBaselineTrainer`) on the same budget?
    Costs: a step is counted at 15.1 GB on the stock 8 GB plan of 6 x 512 x 512 voxels, where nnU-Net's own network is
    counted at 7.9 GB (20 classes, mixed precision), so plan for it; time not measured yet. That is with its blocks
    computed again in backward; keeping all maps would need 64.7 GB.

        nnunet_spine plan -d 501 -tr SpineACCUNetTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineACCUNetTrainer -p SpineACCUNetPlans
    """

    network_name = "acc-unet"


__getattr__ = epoch_variants(globals())
