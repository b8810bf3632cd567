"""Paper 002: CT U-Net, versions 1 to 5: plain, with SPConv, with residual attention (RA), with CIE, MFE and RA.

The trainers without `Paper` train these ideas under nnU-Net's own recipe on any plan: they differ from one another in
the network alone, and `SpineCTUNetTrainer` is the plain one. The paper trainers have the paper's recipe, widths, norm
and nonlinearity; see `training/paper002.py` for what the paper leaves open.

The paper's own numbers for versions 4 and 5 are those of *untrained* attention: its RA weights were never registered.
Here they are trained.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from nnunet_spine_ext.networks.unet_options import (
    CT_UNET_CONV_MODULE_PAPER,
    CT_UNET_PAPER,
    CT_UNET_RA_PAPER,
    CT_UNET_SPCONV_PAPER,
)
from nnunet_spine_ext.training.paper002 import Paper002Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineCTUNetTrainer(SpineTrainer):
    """The classical U-Net on the stages, widths and norm of the plan.

    Tests: what every other U-Net of the papers is measured against; against `SpineBaselineTrainer` it tests max-pooling
    in place of strided convolutions.
    Costs: a step is counted at 7.6 GB on the stock 8 GB plan of 6 x 512 x 512 voxels, where nnU-Net's own network is
    counted at 7.9 GB (20 classes, mixed precision); time not measured yet.

        nnunet_spine plan -d 501 -tr SpineCTUNetTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineCTUNetTrainer -p SpineCTUNetPlans
    """

    network_name = "ct-unet"


class SpineCTUNetSPConvTrainer(SpineTrainer):
    """U-Net with split convolutions: half of the channels get a 1x1 convolution only.

    Tests: whether half of the channels are redundant.
    Costs: 10.7 GB where SpineCTUNetTrainer is counted at 7.6, for a third of its weights and multiplications; time not
    measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineCTUNetSPConvTrainer -p SpineCTUNetSPConvPlans
    """

    network_name = "ct-unet-spconv"
    network_options = MappingProxyType({"block": "spconv"})


class SpineCTUNetRATrainer(SpineTrainer):
    """U-Net whose skip connections stress what the decoder asks for (RA).

    Tests: what attention on the skips adds, trained, which the paper's was not.
    Costs: 8.7 GB where SpineCTUNetTrainer is counted at 7.6; time not measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineCTUNetRATrainer -p SpineCTUNetRAPlans
    """

    network_name = "ct-unet-ra"
    network_options = MappingProxyType({"skip": "residual_attention"})


class SpineCTUNetConvModuleTrainer(SpineTrainer):
    """U-Net with context before (CIE) and several scales behind (MFE) the convolutions of each stage, and RA.

    Tests: what wide context and several scales add to `SpineCTUNetRATrainer`.
    Costs: 16.3 GB where SpineCTUNetTrainer is counted at 7.6, and four times its weights and multiplications; time not
    measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineCTUNetConvModuleTrainer -p SpineCTUNetConvModulePlans
    """

    network_name = "ct-unet-conv-module"
    network_options = MappingProxyType({"block": "conv_module", "skip": "residual_attention"})


class SpineCTUNetPaperTrainer(Paper002Recipe):
    """Paper 002's version 2: its recipe on its U-Net of 31 million weights (64 to 1024 channels, BatchNorm, ReLU).

    Cross-entropy, Adam at 1e-4 (the paper states no rate), batch 16, 100 epochs of nnU-Net's 250 steps; rotation, flips
    and elastic deformation. Version 1 is the same without these: a subclass with `augments = False`.

    Tests: is the paper's recipe better or worse than nnU-Net's on the same kind of network?
    Costs: a step is counted at 13.7 GB for 16 slices of 512 x 512 pixels (mixed precision); time not measured yet.

        nnunet_spine plan -d 502 -tr SpineCTUNetPaperTrainer -c 2d
        nnUNetv2_train 502 2d 0 -tr SpineCTUNetPaperTrainer -p SpineCTUNetPaperPlans
    """

    network_name = "ct-unet"
    network_options = MappingProxyType(CT_UNET_PAPER.as_json())


class SpineCTUNetSPConvPaperTrainer(Paper002Recipe):
    """Paper 002's version 3: SPConv in place of every 3x3 convolution, 13 million weights, batch 15.

    Tests: the paper's claim that split convolutions do as well with less than half of the weights.
    Costs: 27.1 GB for 15 slices of 512 x 512 pixels; time not measured yet.

        nnunet_spine plan -d 502 -tr SpineCTUNetSPConvPaperTrainer -c 2d
        nnUNetv2_train 502 2d 0 -tr SpineCTUNetSPConvPaperTrainer -p SpineCTUNetSPConvPaperPlans
    """

    network_name = "ct-unet-spconv"
    network_options = MappingProxyType(CT_UNET_SPCONV_PAPER.as_json())
    plan_batch_size = 15


class SpineCTUNetRAPaperTrainer(Paper002Recipe):
    """Paper 002's version 4: residual attention on the skips, 33 million weights (the paper's 31 leave RA out).

    Tests: the paper's best version, with attention that is trained.
    Costs: 16.6 GB for 16 slices of 512 x 512 pixels; time not measured yet.

        nnunet_spine plan -d 502 -tr SpineCTUNetRAPaperTrainer -c 2d
        nnUNetv2_train 502 2d 0 -tr SpineCTUNetRAPaperTrainer -p SpineCTUNetRAPaperPlans
    """

    network_name = "ct-unet-ra"
    network_options = MappingProxyType(CT_UNET_RA_PAPER.as_json())


class SpineCTUNetConvModulePaperTrainer(Paper002Recipe):
    """Paper 002's version 5: CIE, MFE and RA, 79.5 million weights (the paper's 77.4 leave RA out), 10 epochs.

    Tests: the paper's largest version, which it trained for 10 epochs only; `_100epochs` gives it the others' length.
    Costs: 33.9 GB for 16 slices of 512 x 512 pixels; time not measured yet.

        nnunet_spine plan -d 502 -tr SpineCTUNetConvModulePaperTrainer -c 2d
        nnUNetv2_train 502 2d 0 -tr SpineCTUNetConvModulePaperTrainer -p SpineCTUNetConvModulePaperPlans
    """

    network_name = "ct-unet-conv-module"
    network_options = MappingProxyType(CT_UNET_CONV_MODULE_PAPER.as_json())
    recipe = replace(Paper002Recipe.recipe, epochs=10)


__getattr__ = epoch_variants(globals())
