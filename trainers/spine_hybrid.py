"""Paper 000: the hybrid of large in-plane kernels (UX) and hierarchical multi-scale links (HANC), and its ablations.

`SpineHybridTrainer` is the network under nnU-Net's own recipe, on any plan. The three arms switch one idea off each,
so that each idea is measured against the same schedule, loss and folds (the paper's own arms differ in those as well).
`SpineHybridPaperTrainer` is the paper's recipe on the paper's widths.
"""

from __future__ import annotations

from types import MappingProxyType

from nnunet_spine_ext.networks.hybrid import PAPER_OPTIONS, paper_architecture
from nnunet_spine_ext.training.paper000 import Paper000Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineHybridTrainer(SpineTrainer):
    """UX blocks in plane, HANC links across: the full network.

    Tests: does the hybrid beat nnU-Net's own network (`SpineBaselineTrainer`) on the same plan and budget?
    Costs: a step is counted at 7.4 GB on the stock 8 GB plan of 6 x 512 x 512 voxels, where nnU-Net's own network is
    counted at 7.9 GB (20 classes, mixed precision); time not measured yet.

        nnunet_spine plan -d 501 -tr SpineHybridTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineHybridTrainer -p SpineHybridPlans
    """

    network_name = "hybrid"
    network_options = MappingProxyType({"plane_block": "ux", "link_block": "hanc"})


class SpineHybridNoHANCTrainer(SpineTrainer):
    """UX blocks in plane, residual links ("w/o HANC").

    Tests: what the HANC links add.
    Costs: 7.7 GB where SpineHybridTrainer is counted at 7.4; time not measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineHybridNoHANCTrainer -p SpineHybridPlans
    """

    network_name = "hybrid-no-hanc"
    network_options = MappingProxyType({"plane_block": "ux", "link_block": "res"})


class SpineHybridNoUXTrainer(SpineTrainer):
    """Residual blocks in plane, HANC links ("w/o UX").

    Tests: what the UX blocks add.
    Costs: 7.7 GB where SpineHybridTrainer is counted at 7.4; time not measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineHybridNoUXTrainer -p SpineHybridPlans
    """

    network_name = "hybrid-no-ux"
    network_options = MappingProxyType({"plane_block": "res", "link_block": "hanc"})


class SpineHybridResTrainer(SpineTrainer):
    """Residual blocks and residual links ("only ResBlock").

    Tests: what is left when both ideas are off.
    Costs: 7.9 GB where SpineHybridTrainer is counted at 7.4; time not measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineHybridResTrainer -p SpineHybridPlans
    """

    network_name = "hybrid-res"
    network_options = MappingProxyType({"plane_block": "res", "link_block": "res"})


class SpineHybridPaperTrainer(Paper000Recipe):
    """Paper 000's recipe, as its text states it, on the paper's network.

    Mean squared error on probabilities, Adam at 1e-3 times 0.9 after every 10 epochs, 200 epochs; an epoch is 40 % of
    the cases with 16 random windows of 12 x 128 x 128 each, batch 8; mirroring of each axis with probability 0.3 is the
    only augmentation; no deep supervision. The paper trains one binary task, spine against background.

    What stays nnU-Net's: intensity normalisation and spacing (of the plan), folds, gradient clipping, mixed precision,
    the sliding window and its mirroring in prediction. N4 correction, as the paper has it, is the converter's.

    Tests: is the paper's recipe better or worse than nnU-Net's on the same network family?
    Costs: 744 million weights (the paper's widths), a step counted at 19.1 GB (mixed precision); time not measured.

        nnunet_spine plan -d 502 -tr SpineHybridPaperTrainer
        nnUNetv2_train 502 3d_fullres 0 -tr SpineHybridPaperTrainer -p SpineHybridPaperPlans
    """

    network_name = "hybrid-paper"
    network_options = MappingProxyType(PAPER_OPTIONS.as_json())
    own_stages = MappingProxyType(paper_architecture())
    plan_patch_size = (12, 128, 128)
    plan_batch_size = 8
    case_fraction = 0.4
    windows_per_case = 16


__getattr__ = epoch_variants(globals())
