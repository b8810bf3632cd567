"""Paper 004: ASPP-UNet, and the networks that it was compared with: two U-Nets, SegNet and DeepLabV3.

The trainers without `Paper` train them under nnU-Net's own recipe. Those with `Paper` have the paper's recipe
(`training/paper004.py`: cross-entropy, SGD at 0.01 times 0.99 after each epoch, batch 2, 50 epochs, no augmentation)
and its widths, stages, norm and nonlinearity. The paper trained all but U-Net-3D on single slices; so do these, a 3D
configuration slice by slice. nnU-Net-2D, the sixth of its networks, is `nnUNetTrainer`.

Costs are counted at 9 classes and in mixed precision: for nnU-Net's recipe on its plan of 6 x 512 x 512 voxels and
batch 2 (2D networks: 896 x 896 and batch 4), where nnU-Net's own network counts 7.4 GB (7.5); for the paper's at
batch 2 on 896 x 896 voxels (U-Net-3D: 6 x 512 x 512).
"""

from __future__ import annotations

from types import MappingProxyType

from nnunet_spine_ext.networks import aspp_unet, segnet
from nnunet_spine_ext.networks.unet_options import UNET_2D_004_PAPER, UNET_3D_004_PAPER
from nnunet_spine_ext.networks.unet_papers import paper_words
from nnunet_spine_ext.training.paper004 import Paper004Recipe
from nnunet_spine_ext.training.patch_options import KnowsPatch
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineASPPUNetTrainer(KnowsPatch):
    """U-Net whose first four stages look at their maps at several scales before they halve them.

    Tests: does ASPP on the way down add anything under nnU-Net's recipe (`SpineASPPUNetNoASPPTrainer` is without)?
    Costs: 60.0 million weights, 11.4 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineASPPUNetTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineASPPUNetTrainer -p SpineASPPUNetPlans
    """

    network_name = "aspp-unet"


class SpineASPPUNetNoASPPTrainer(KnowsPatch):
    """The same U-Net without ASPP.

    Tests: what is left when the paper's idea is off.
    Costs: 57.0 million weights, 7.9 GB a step; time not measured yet.

        nnUNetv2_train 501 3d_fullres 0 -tr SpineASPPUNetNoASPPTrainer -p SpineASPPUNetPlans
    """

    network_name = "aspp-unet"
    network_options = MappingProxyType({"aspp": "none"})


class SpineUNet2D004Trainer(SpineTrainer):
    """U-Net whose up-sampling keeps the width, in 2D.

    Tests: the network of the paper's U-Net-2D on the stages of nnU-Net's plan.
    Costs: 40.5 million weights, 7.1 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet2D004Trainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineUNet2D004Trainer -p SpineUNet2D004Plans
    """

    network_name = "unet-2d-004"
    network_options = MappingProxyType({"up": "transposed_same"})


class SpineUNet3D004Trainer(SpineTrainer):
    """U-Net whose up-sampling keeps the width, in 3D.

    Tests: the network of the paper's U-Net-3D on the stages of nnU-Net's plan.
    Costs: 51.4 million weights, 7.1 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet3D004Trainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineUNet3D004Trainer -p SpineUNet3D004Plans
    """

    network_name = "unet-3d-004"
    network_options = MappingProxyType({"up": "transposed_same"})


class SpineSegNetTrainer(SpineTrainer):
    """SegNet: the decoder knows where the maxima were, and nothing else of the encoder.

    Tests: what skip connections are worth (`SpineUNet2D004Trainer` has them).
    Costs: 37.8 million weights, 6.9 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineSegNetTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineSegNetTrainer -p SpineSegNetPlans
    """

    network_name = "segnet"


class SpineDeepLabV3Trainer(SliceTrainer):
    """ResNet-101 and dilated branches, enlarged from output stride 16 in one step.

    Tests: the network that ASPP comes from, without a decoder, under nnU-Net's recipe.
    Costs: 58.7 million weights, 7.9 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDeepLabV3Trainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDeepLabV3Trainer -p SpineDeepLabV3Plans
    """

    network_name = "deeplabv3"


class SpineASPPUNetPaperTrainer(Paper004Recipe):
    """Paper 004's ASPP-UNet, read literally (64 to 512 channels, 22 million weights), under its recipe.

    Tests: is the paper's recipe better or worse than nnU-Net's on the same network family?
    Costs: 22.0 million weights, 11.0 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineASPPUNetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineASPPUNetPaperTrainer -p SpineASPPUNetPaperPlans
    """

    network_name = "aspp-unet"
    network_options = MappingProxyType(aspp_unet.PAPER_OPTIONS.as_json())
    own_stages = MappingProxyType(aspp_unet.paper_architecture())


class SpineUNet2D004PaperTrainer(Paper004Recipe):
    """Paper 004's U-Net-2D (the nearest reading of its size: 14.8 million weights) under its recipe.

    Tests: ASPP-UNet's baseline in the paper.
    Costs: 14.8 million weights, 6.3 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet2D004PaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineUNet2D004PaperTrainer -p SpineUNet2D004PaperPlans
    """

    network_name = "unet-2d-004"
    network_options = MappingProxyType(UNET_2D_004_PAPER.as_json())
    own_stages = MappingProxyType(paper_words(UNET_2D_004_PAPER))


class SpineUNet3D004PaperTrainer(Paper004Recipe):
    """Paper 004's U-Net-3D (convolution and pooling in 3D, 42 million weights) under its recipe.

    Slices are never pooled: the paper's twelve cannot be halved four times, and it does not say what it did.

    Tests: does exchange between thick slices help the paper's U-Net?
    Costs: 41.6 million weights, 10.1 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet3D004PaperTrainer
        nnUNetv2_train 501 3d_fullres 0 -tr SpineUNet3D004PaperTrainer -p SpineUNet3D004PaperPlans
    """

    network_name = "unet-3d-004"
    network_options = MappingProxyType(UNET_3D_004_PAPER.as_json())
    own_stages = MappingProxyType(paper_words(UNET_3D_004_PAPER, dims=3, pool_slices=False))
    plan_configuration = "3d_fullres"


class SpineSegNetPaperTrainer(Paper004Recipe):
    """SegNet of four levels, "equivalent to ASPP-UNet" in size (15.3 million weights), under paper 004's recipe.

    Tests: the paper's second-weakest network, under its own recipe.
    Costs: 15.3 million weights, 6.3 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineSegNetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineSegNetPaperTrainer -p SpineSegNetPaperPlans
    """

    network_name = "segnet"
    network_options = MappingProxyType(segnet.PAPER_OPTIONS.as_json())
    own_stages = MappingProxyType(segnet.paper_architecture(levels=4))


class SpineDeepLabV3PaperTrainer(Paper004Recipe, SliceTrainer):
    """DeepLabV3, "the classical": ResNet-101 at output stride 8, all norms as published, under paper 004's recipe.

    From random weights, unless a file with published ones is named; the paper does not say. The published norm on the
    pooled branch needs two slices in a batch, which the paper's batch of 2 has.

    Tests: the network that ASPP-UNet was made to improve upon, under the same recipe.
    Costs: 58.6 million weights, 8.5 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDeepLabV3PaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDeepLabV3PaperTrainer -p SpineDeepLabV3PaperPlans
    """

    network_name = "deeplabv3"
    network_options = MappingProxyType({"output_stride": 8, "pooled_norm": True})


__getattr__ = epoch_variants(globals())
