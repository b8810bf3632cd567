"""3D UX-Net, a parent of paper 000's hybrid: the one whose large-kernel blocks the hybrid has in its encoder.

Paper 000 did not train it. `SpineUXNetTrainer` is the network under nnU-Net's own recipe, on any plan, so that nothing
but the network differs from nnU-Net's. Networks with LayerNorm and a layer scale were made with AdamW, whose steps do
not depend on the size of a gradient; those of a layer scale are small. `SpineUXNetAdamWTrainer` has it, to tell a poor
network from a poor optimizer.
"""

from __future__ import annotations

from nnunet_spine_ext.training.adamw import AdamWTrainer
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineUXNetTrainer(SpineTrainer):
    """3D UX-Net with the stages of the plan.

    Tests: do large depthwise kernels beat nnU-Net's own network (`SpineBaselineTrainer`) on the same budget?
    Costs: a step is counted at 8.4 GB on the stock 8 GB plan of 6 x 512 x 512 voxels, where nnU-Net's own network is
    counted at 7.9 GB (20 classes, mixed precision); time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUXNetTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineUXNetTrainer -p SpineUXNetPlans
    """

    network_name = "ux-net"


class SpineUXNetAdamWTrainer(AdamWTrainer):
    """3D UX-Net with AdamW at the published rate of 1e-4.

    The weight decay is torch's own, 0.01. The warm-up over the first twentieth of the epochs and nnU-Net's polynomial
    fall are not the paper's, which trained 40,000 steps. All else is nnU-Net's recipe.

    Tests: whether nnU-Net's optimizer holds the network back (beside `SpineUXNetTrainer`).
    Costs: as SpineUXNetTrainer, and one more copy of the weights.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineUXNetAdamWTrainer -p SpineUXNetPlans
    """

    network_name = "ux-net"
    recipe = Recipe(learning_rate=1e-4, weight_decay=0.01)


__getattr__ = epoch_variants(globals())
