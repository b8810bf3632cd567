"""Paper 003: the networks that a plan shapes: U-Net, Attention U-Net, ResUNet++ and MiniSeg.

The trainers without `Paper` train them under nnU-Net's own recipe, on the stages of the plan, in 2D and 3D. Those with
`Paper` have the paper's recipe (`training/paper003.py`: Dice loss, Adam at 5e-4, four artefacts of MRI, no mirroring)
and the widths, stages, norm and nonlinearity that explain the sizes in the paper's table 3, in 2D; a 3D configuration
is trained slice by slice.

Costs are counted at 20 classes and in mixed precision: for nnU-Net's recipe on its plan of 6 x 512 x 512 voxels and
batch 2, where nnU-Net's own network counts 7.9 GB; for the paper's on 2d plans of 896 x 896 voxels and batch 4.
"""

from __future__ import annotations

from types import MappingProxyType

from nnunet_spine_ext.networks import miniseg, resunetpp
from nnunet_spine_ext.networks.unet_options import ATTENTION_UNET_PAPER, UNET_003_PAPER
from nnunet_spine_ext.networks.unet_papers import paper_words
from nnunet_spine_ext.training.paper003 import Paper003Recipe
from nnunet_spine_ext.training.patch_options import KnowsPatch
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineUNet003Trainer(SpineTrainer):
    """The classical U-Net with linear up-sampling.

    Tests: what the other networks of paper 003 are measured against; against `SpineBaselineTrainer` it tests
    max-pooling and linear up-sampling in place of strided and transposed convolutions.
    Costs: 49.8 million weights, 7.5 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet003Trainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineUNet003Trainer -p SpineUNet003Plans
    """

    network_name = "unet-003"
    network_options = MappingProxyType({"up": "linear"})


class SpineAttentionUNetTrainer(SpineTrainer):
    """U-Net whose skip connections are gated by what the decoder has found so far.

    Tests: what attention gates add to a U-Net of the same plan (`SpineCTUNetTrainer` is without).
    Costs: 66.6 million weights, 10.0 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineAttentionUNetTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineAttentionUNetTrainer -p SpineAttentionUNetPlans
    """

    network_name = "attention-unet"
    network_options = MappingProxyType({"skip": "attention_gate", "up": "nearest_conv"})


class SpineResUNetPPTrainer(KnowsPatch):
    """ResUNet++: residual blocks, squeeze and excitation, ASPP at the bottom, attention in the decoder.

    Tests: do these four together beat nnU-Net's own network? Each is an option (`se`, `aspp`, `attention`), to be
    switched off in a subclass.
    Costs: 66.8 million weights, 10.6 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineResUNetPPTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineResUNetPPTrainer -p SpineResUNetPPPlans
    """

    network_name = "resunetpp"


class SpineMiniSegTrainer(KnowsPatch):
    """MiniSeg: depthwise convolutions and few channels, a network that a CPU can train.

    Tests: how much of the result is the network's size at all?
    Costs: 0.47 million weights on eight stages, 5.2 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineMiniSegTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineMiniSegTrainer -p SpineMiniSegPlans
    """

    network_name = "miniseg"


class SpineUNet003PaperTrainer(Paper003Recipe):
    """Paper 003's U-Net (64 to 512 channels, bilinear up-sampling, BatchNorm, ReLU) under its recipe.

    Tests: the paper's simplest network, under its own recipe.
    Costs: 13.4 million weights, 11.6 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet003PaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineUNet003PaperTrainer -p SpineUNet003PaperPlans
    """

    network_name = "unet-003"
    network_options = MappingProxyType(UNET_003_PAPER.as_json())
    own_stages = MappingProxyType(paper_words(UNET_003_PAPER))


class SpineAttentionUNetPaperTrainer(Paper003Recipe):
    """Paper 003's Attention U-Net (64 to 1024 channels, BatchNorm, ReLU) under its recipe.

    Tests: the paper's second-weakest network, under its own recipe: are the gates to blame, or the recipe?
    Costs: 34.9 million weights, 15.2 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineAttentionUNetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineAttentionUNetPaperTrainer -p SpineAttentionUNetPaperPlans
    """

    network_name = "attention-unet"
    network_options = MappingProxyType(ATTENTION_UNET_PAPER.as_json())
    own_stages = MappingProxyType(paper_words(ATTENTION_UNET_PAPER))


class SpineResUNetPPPaperTrainer(Paper003Recipe):
    """Paper 003's variant of ResUNet++ (32 to 512 channels, BatchNorm, ReLU) under its recipe.

    Tests: the variant whose size the paper prints, under its own recipe.
    Costs: 14.5 million weights, 24.0 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineResUNetPPPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineResUNetPPPaperTrainer -p SpineResUNetPPPaperPlans
    """

    network_name = "resunetpp"
    network_options = MappingProxyType(resunetpp.PAPER_OPTIONS.as_json())
    own_stages = MappingProxyType(resunetpp.paper_architecture("paper003"))


class SpineMiniSegPaperTrainer(Paper003Recipe):
    """MiniSeg as its authors have it, without further heads (paper 003 names none), under paper 003's recipe.

    Tests: the paper's smallest network, which it finds better than U-Net.
    Costs: 83 thousand weights, 4.6 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineMiniSegPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineMiniSegPaperTrainer -p SpineMiniSegPaperPlans
    """

    network_name = "miniseg"
    network_options = MappingProxyType(miniseg.PAPER_OPTIONS.as_json())
    own_stages = MappingProxyType(miniseg.paper_architecture())


__getattr__ = epoch_variants(globals())
