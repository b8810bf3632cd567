"""Paper 003: networks that widen the context of a published encoder: PSPNet, DeepLabv3+ and DenseASPP.

The trainers without `Paper` train them under nnU-Net's own recipe, at output stride 16 and without norms on pooled
values; SGD with a rate of 0.01 needs no change for them, as every convolution but a head's last has a norm after it or
before it. Those with `Paper` have the paper's recipe (`training/paper003.py`) and the form of each network whose
weights and arithmetic are those of the paper's table 3; where that has BatchNorm on pooled values, a batch of one slice
is refused. All train from random weights, as the paper did, unless a file with published weights is named.

Slices of any size; a 3D configuration is trained slice by slice. Costs are counted for nnU-Net's plan for 880 x 880
slices in 2d, 896 x 896 voxels and batch 4 (20 classes, mixed precision), where nnU-Net's own network counts 7.9 GB.
"""

from __future__ import annotations

from types import MappingProxyType

from nnunet_spine_ext.training.paper003 import Paper003Recipe
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpinePSPNetTrainer(SliceTrainer):
    """ResNet-101 and averages over grids of 1, 2, 3 and 6 cells.

    Tests: does knowledge of the whole slice, coarsely summed up, beat the U-Net's way of joining resolutions?
    Costs: 65.6 million weights, 8.7 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpinePSPNetTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpinePSPNetTrainer -p SpinePSPNetPlans
    """

    network_name = "pspnet"


class SpinePSPNetPaperTrainer(Paper003Recipe, SliceTrainer):
    """PSPNet as paper 003's table has it: ResNet-34 at output stride 8 (the table says ResNet101), paper 003's recipe.

    Tests: the paper's second-best network, under its own recipe.
    Costs: 27.5 million weights, 8.7 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpinePSPNetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpinePSPNetPaperTrainer -p SpinePSPNetPaperPlans
    """

    network_name = "pspnet"
    network_options = MappingProxyType({"encoder": "resnet34", "output_stride": 8, "head": "progressive"})


class SpineDeepLabV3PlusTrainer(SliceTrainer):
    """ResNet-101, dilated branches for context, the encoder's 1/4 map for detail.

    Tests: does paper 003's best network beat nnU-Net's own, both under nnU-Net's recipe?
    Costs: 59.3 million weights, 9.5 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDeepLabV3PlusTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDeepLabV3PlusTrainer -p SpineDeepLabV3PlusPlans
    """

    network_name = "deeplabv3plus"


class SpineDeepLabV3PlusPaperTrainer(Paper003Recipe, SliceTrainer):
    """DeepLabv3+ as paper 003's table has it, with dilations 2, 4, 8 in the last stage, under paper 003's recipe.

    Tests: the paper's best network, under its own recipe.
    Costs: 59.3 million weights, 9.2 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDeepLabV3PlusPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDeepLabV3PlusPaperTrainer -p SpineDeepLabV3PlusPaperPlans
    """

    network_name = "deeplabv3plus"
    network_options = MappingProxyType({"multi_grid": True, "pooled_norm": True})


class SpineDenseASPPTrainer(SliceTrainer):
    """DenseNet-169 and dilated convolutions of which each reads all before it.

    Tests: does a denser pyramid of dilations (`SpineDeepLabV3PlusTrainer` has three) pay, with a third of the weights?
    Costs: 18.4 million weights, 7.0 GB a step (13.3 without recomputation); time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDenseASPPTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDenseASPPTrainer -p SpineDenseASPPPlans
    """

    network_name = "denseaspp"


class SpineDenseASPPPaperTrainer(Paper003Recipe, SliceTrainer):
    """DenseASPP as published and as paper 003's table has it, BatchNorm's momentum included, under paper 003's recipe.

    Tests: the published network under paper 003's recipe. Its running statistics follow slowly (momentum 0.0003).
    Costs: 18.4 million weights, 7.1 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDenseASPPPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDenseASPPPaperTrainer -p SpineDenseASPPPaperPlans
    """

    network_name = "denseaspp"
    network_options = MappingProxyType({"norm_momentum": 3e-4})


__getattr__ = epoch_variants(globals())
