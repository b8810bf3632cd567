"""Paper 001: Res50_UNet (ResNeXt-50 and a feature pyramid on five slices and two coordinate maps), and three U-Nets.

Each network has two trainers. `Spine<Net>Trainer` is the network on the plan under nnU-Net's own recipe, without
mirroring within slices, because coordinates do not turn with an image. `Spine<Net>PaperTrainer` is the paper's form of
the network under the paper's recipe (`training/paper001.py`). Five slices are seen in configurations whose patch has
several: 25d (acquired slices, `nnunet_spine plan … -c 25d`) and 3d_fullres (resampled ones); in 2d there is one slice,
and the coordinates. A task of ordered labels (vertebra by vertebra) keeps its names apart by the coordinates only where
the patch shows the whole slice.

Costs are counted (mixed precision) for a batch of 32 slices of 256 x 256, two patches of 16, with two classes.
Res50_UNet's encoder can begin with published weights: NNUNET_SPINE_ENCODER_WEIGHTS=/path/resnext50_32x4d.pth.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from nnunet_spine_ext.networks.unet_dense import PAPER_OPTIONS, paper_architecture
from nnunet_spine_ext.networks.unet_options import UNET_001_PAPER, UNET_BN_001_PAPER
from nnunet_spine_ext.networks.unet_papers import paper_words
from nnunet_spine_ext.training.coordinates import CoordinateTrainer
from nnunet_spine_ext.training.paper001 import Paper001Recipe
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineRes50UNetTrainer(CoordinateTrainer, SliceTrainer):
    """Res50_UNet under nnU-Net's recipe, without deep supervision.

    Tests: does a published encoder with a feature pyramid on five slices beat nnU-Net's own network?
    Costs: a step is counted at 6.1 GB where nnU-Net's own network is at 5.7; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineRes50UNetTrainer -c 25d
        nnUNetv2_train 501 25d 0 -tr SpineRes50UNetTrainer -p SpineRes50UNetPlans
    """

    network_name = "res50-unet"


class SpineRes50UNetPaperTrainer(Paper001Recipe, SliceTrainer):
    """Res50_UNet as the paper trained it: -ln Dice, Adam at 0.005, 10,000 iterations, no augmentation.

    Tests: is the paper's recipe better or worse than nnU-Net's on the same network?
    Costs: a step is counted at 6.2 GB where nnU-Net's own network is at 5.7; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineRes50UNetPaperTrainer
        nnUNetv2_train 501 25d 0 -tr SpineRes50UNetPaperTrainer -p SpineRes50UNetPaperPlans
    """

    network_name = "res50-unet"


class SpineUNet001Trainer(CoordinateTrainer):
    """Paper 001's UNet (a nonlinearity after up-sampling) on the plan's stages, norm and widths.

    Tests: Res50_UNet's input, five slices and coordinates, without its encoder and pyramid.
    Costs: a step is counted at 6.0 GB where nnU-Net's own network is at 5.7; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet001Trainer -c 25d
        nnUNetv2_train 501 25d 0 -tr SpineUNet001Trainer -p SpineUNet001Plans
    """

    network_name = "unet-001"


class SpineUNet001PaperTrainer(Paper001Recipe):
    """Paper 001's UNet as the paper trained it: no norm, and so at 1e-5; its loss exploded at 0.005.

    Tests: what the paper compares with.
    Costs: a step is counted at 6.8 GB where nnU-Net's own network is at 5.7; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNet001PaperTrainer
        nnUNetv2_train 501 25d 0 -tr SpineUNet001PaperTrainer -p SpineUNet001PaperPlans
    """

    network_name = "unet-001"
    network_options = MappingProxyType(UNET_001_PAPER.as_json())
    own_stages = MappingProxyType(paper_words(UNET_001_PAPER))
    recipe = replace(Paper001Recipe.recipe, learning_rate=1e-5)


class SpineUNetBN001Trainer(CoordinateTrainer):
    """Paper 001's UNet_BN on the plan's stages, norm and widths: the classical U-Net on five slices and coordinates.

    Tests: the input alone; on a plan of InstanceNorm it is nnU-Net's kind of U-Net with more channels to see.
    Costs: a step is counted at 5.8 GB where nnU-Net's own network is at 5.7; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNetBN001Trainer -c 25d
        nnUNetv2_train 501 25d 0 -tr SpineUNetBN001Trainer -p SpineUNetBN001Plans
    """

    network_name = "unet-bn-001"


class SpineUNetBN001PaperTrainer(Paper001Recipe):
    """Paper 001's UNet_BN as the paper trained it: BatchNorm, three poolings, 64 to 512 channels.

    Tests: what the paper compares with; in its figure this network is at least as good as Res50_UNet.
    Costs: a step is counted at 7.7 GB where nnU-Net's own network is at 5.7; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNetBN001PaperTrainer
        nnUNetv2_train 501 25d 0 -tr SpineUNetBN001PaperTrainer -p SpineUNetBN001PaperPlans
    """

    network_name = "unet-bn-001"
    network_options = MappingProxyType(UNET_BN_001_PAPER.as_json())
    own_stages = MappingProxyType(paper_words(UNET_BN_001_PAPER))


class SpineUNetDense001Trainer(CoordinateTrainer):
    """Paper 001's UNet_Dense, a U-Net of dense blocks, on the plan's stages, norm and widths.

    Tests: do dense blocks of few weights do what convolutions of many do?
    Costs: a step is counted at 10.8 GB where nnU-Net's own network is at 5.7; blocks are computed twice to keep
    little. Time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNetDense001Trainer -c 25d
        nnUNetv2_train 501 25d 0 -tr SpineUNetDense001Trainer -p SpineUNetDense001Plans
    """

    network_name = "unet-dense-001"


class SpineUNetDense001PaperTrainer(Paper001Recipe):
    """Paper 001's UNet_Dense as the paper trained it: three levels from 32 channels, BatchNorm.

    Tests: what the paper compares with.
    Costs: a step is counted at 7.9 GB where nnU-Net's own network is at 5.7; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineUNetDense001PaperTrainer
        nnUNetv2_train 501 25d 0 -tr SpineUNetDense001PaperTrainer -p SpineUNetDense001PaperPlans
    """

    network_name = "unet-dense-001"
    network_options = MappingProxyType(PAPER_OPTIONS.as_json())
    own_stages = MappingProxyType(paper_architecture())


__getattr__ = epoch_variants(globals())
