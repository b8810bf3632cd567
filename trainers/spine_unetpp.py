"""UNet++: nested U-Nets on any plan, and the 2D form that paper 000 compares its hybrid with.

Every nested network has a head at full resolution, and all of them are trained against the same label with equal
weights. That is not nnU-Net's deep supervision (see `training/nested_supervision.py`).
"""

from __future__ import annotations

from nnunet_spine_ext.training.nested_trainer import NestedTrainer
from nnunet_spine_ext.training.paper000 import Paper000Recipe
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineUNetPPTrainer(NestedTrainer):
    """UNet++ with as many nested networks as the plan has stages below the first.

    Tests: do nested networks beat nnU-Net's own (`SpineBaselineTrainer`) on the same budget?
    Costs: a step is counted at 18.9 GB on the stock 8 GB plan of 6 x 512 x 512 voxels, where nnU-Net's own network is
    counted at 7.9 GB (20 classes, mixed precision), so plan for it; time not measured yet. The network's option
    `recompute` brings it to 11.3 GB for a third more arithmetic, `max_nest_depth` nests fewer networks.

        nnunet_spine plan -d 501 -tr SpineUNetPPTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineUNetPPTrainer -p SpineUNetPPPlans

    Prediction takes the deepest network. In Python, `predictor.network.decoder.branch = 3` takes a shallower one
    without computing the rest, `predictor.network.decoder.average = True` the mean of all.
    """

    network_name = "unetpp"


class SpineUNetPPPaperTrainer(Paper000Recipe, SliceTrainer):
    """Paper 000's recipe for its UNet++, as its code has it, on the paper's own 2D network of width 32.

    Mean squared error on the probabilities of each of the three outputs, summed; Adam at 1e-3 times 0.95 after every 10
    epochs, 200 epochs (the text's number; the code runs until it is stopped); batches of 16 slices. An epoch sees each
    slice once and nine tenths as many mirrored copies: of 12 slices a case, 23 windows of every case.

    The paper resizes whole slices to 256 x 256 by nearest neighbour; nnU-Net resamples by spacing, so windows of 256 x
    256 are cut from slices at the plan's spacing. To see whole slices, plan 2d at a spacing that gives them that size.

    Tests: what the paper's baseline reaches on the same folds as its hybrid (`SpineHybridPaperTrainer`); the paper
    compares them on different grids, crops and schedules.
    Costs: 2 million weights; a step is counted at 4.9 GB (two classes, mixed precision); time not measured yet.

        nnunet_spine plan -d 502 -tr SpineUNetPPPaperTrainer
        nnUNetv2_train 502 2d 0 -tr SpineUNetPPPaperTrainer -p SpineUNetPPPaperPlans
    """

    network_name = "unetpp-paper000"
    decay_factor = 0.95
    plan_configuration = "2d"
    plan_patch_size = (256, 256)
    plan_batch_size = 16
    case_fraction = 1.0
    windows_per_case = 23


__getattr__ = epoch_variants(globals())
