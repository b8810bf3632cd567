"""Paper 003: networks with attention on published encoders: DANet, EMANet, PSANet, Inf-Net and TransUNet.

The trainers without `Paper` train them under nnU-Net's own recipe, at output stride 16 (Inf-Net: 32, as published) and
with the further outputs that the published networks are trained on. Those with `Paper` have the paper's recipe
(`training/paper003.py`), which names no further losses, and the form of each network whose weights and arithmetic are
those of the paper's table 3. All train from random weights, as the paper did, unless a file with published weights is
named (NNUNET_SPINE_ENCODER_WEIGHTS; not for TransUNet).

SGD at 0.01 with momentum 0.99, nnU-Net's own, is kept for the four convolutional networks: every convolution of theirs
but those of the attention and the last one has BatchNorm after it. TransUNet has AdamW, see there.

PSANet and TransUNet are built for the plan's patch in the plane: a checkpoint fits plans of the same patch only. The
others take slices of any size. A 3D configuration is trained slice by slice. Costs are counted for nnU-Net's plan for
880 x 880 slices in 2d, 896 x 896 voxels and batch 4 (20 classes, mixed precision, attention computed block by block as
on a GPU), where nnU-Net's own network counts 7.9 GB.
"""

from __future__ import annotations

from types import MappingProxyType

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.training.adamw import AdamWTrainer
from nnunet_spine_ext.training.paper003 import Paper003Recipe
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from nnunet_spine_ext.training.variants import epoch_variants


class SpineDANetTrainer(SliceTrainer):
    """ResNet-101, attention between positions and between channels; three heads, each with weight 1.

    Tests: does attention between all positions beat the U-Net's way of joining resolutions?
    Costs: 66.5 million weights, 10.9 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDANetTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDANetTrainer -p SpineDANetPlans
    """

    network_name = "danet"


class SpineDANetPaperTrainer(Paper003Recipe, SliceTrainer):
    """DANet at output stride 32, which alone gives the cost in paper 003's table, with one head, under its recipe.

    Tests: the paper's DANet, under its own recipe. The published network has stride 8, and cost seven times as much.
    Costs: 66.4 million weights, 8.1 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineDANetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineDANetPaperTrainer -p SpineDANetPaperPlans
    """

    network_name = "danet"
    network_options = MappingProxyType({"output_stride": 32, "aux": False})


class SpineEMANetTrainer(SliceTrainer):
    """ResNet-101, attention to 64 bases found by expectation-maximisation.

    Tests: is attention to few bases worth as much as attention to all positions (`SpineDANetTrainer`)?
    Costs: 53.6 million weights, of which 0.26 frozen by the method, 8.6 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineEMANetTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineEMANetTrainer -p SpineEMANetPlans
    """

    network_name = "emanet"


class SpineEMANetPaperTrainer(Paper003Recipe, SliceTrainer):
    """EMANet as published and as paper 003's table has it, at output stride 8, under paper 003's recipe.

    Tests: the paper's EMANet, one of its best three, under its own recipe.
    Costs: 53.8 million weights, 15.7 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineEMANetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineEMANetPaperTrainer -p SpineEMANetPaperPlans
    """

    network_name = "emanet"
    network_options = MappingProxyType({"encoder": "resnet101s", "output_stride": 8, "multi_grid": True})


class SpinePSANetTrainer(SliceTrainer):
    """ResNet-101, a learnt map of attention for each position. Tied to the plan's patch.

    Tests: does attention by relative place, instead of by likeness (`SpineDANetTrainer`), suit a spine's fixed order?
    Costs: 69.2 million weights, 9.0 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpinePSANetTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpinePSANetTrainer -p SpinePSANetPlans
    """

    network_name = "psanet"


class SpinePSANetPaperTrainer(Paper003Recipe, SliceTrainer):
    """PSANet at output stride 8, whose size for 880 x 880 slices is that of paper 003's table, under its recipe.

    Tests: the paper's PSANet, under its own recipe. Tied to the plan's patch.
    Costs: 78.7 million weights, 17.6 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpinePSANetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpinePSANetPaperTrainer -p SpinePSANetPaperPlans
    """

    network_name = "psanet"
    network_options = MappingProxyType({"output_stride": 8})


class SpineInfNetTrainer(SliceTrainer):
    """Res2Net-101, a coarse segmentation refined three times where it found nothing, and edges.

    The four segmentations are trained with nnU-Net's loss, the edges on the borders of the labels with cross-entropy,
    each with weight 1.

    The coarse segmentation multiplies three maps, so what BatchNorm's stored statistics lag behind the weights counts
    three times: a prediction after the first hundred steps says little, though training steps are sound.

    Tests: do refinements that look at what was left out find what a single head misses?
    Costs: 50.6 million weights, 12.9 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineInfNetTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineInfNetTrainer -p SpineInfNetPlans
    """

    network_name = "infnet"

    def check_suitable(self) -> None:
        """Refuse several regions: the network must know which output is the background."""
        super().check_suitable()
        regions = self.label_manager.num_segmentation_heads
        if self.label_manager.has_regions and regions > 1:
            raise SetupError(
                f"{type(self).__name__} looks where the background is likely, and of the {regions} regions of this "
                "dataset none is the background. Train it on labels (or on one region), or take another network."
            )


class SpineInfNetPaperTrainer(Paper003Recipe, SpineInfNetTrainer):
    """Inf-Net with the Dice loss of its prediction alone, under paper 003's recipe.

    Tests: the paper's Inf-Net, under its own recipe. How the paper made it multi-class is not published.
    Costs: 50.6 million weights, 9.6 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineInfNetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineInfNetPaperTrainer -p SpineInfNetPaperPlans
    """

    network_options = MappingProxyType({"aux": False})


class SpineTransUNetTrainer(AdamWTrainer, SliceTrainer):
    """ResNet-50 and a Vision Transformer at the bottom of a U-Net. Tied to the plan's patch.

    The optimizer is not nnU-Net's: AdamW at 3e-4 with weight decay 0.05, a warm-up over the first twentieth of the
    epochs and nnU-Net's polynomial fall, as nnU-Net trains its own transformer. TransUNet's own recipe, SGD at 0.01,
    begins with published weights. That AdamW is the better choice from random ones is not shown: in small trials on
    drawn slices SGD with nnU-Net's momentum was better on an easy task, and on a harder one it depended on the seed.

    Tests: does attention over the whole slice at the bottom of a U-Net help?
    Costs: 107.5 million weights, 18.2 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineTransUNetTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineTransUNetTrainer -p SpineTransUNetPlans
    """

    network_name = "transunet"
    recipe = Recipe(deep_supervision=False, learning_rate=3e-4, weight_decay=0.05)


class SpineTransUNetPaperTrainer(Paper003Recipe, SliceTrainer):
    """TransUNet under paper 003's recipe.

    Tests: the paper's TransUNet, under its own recipe. Tied to the plan's patch.
    Costs: 107.5 million weights, 18.2 GB a step; time not measured yet.

        nnunet_spine plan -d 501 -tr SpineTransUNetPaperTrainer -c 2d
        nnUNetv2_train 501 2d 0 -tr SpineTransUNetPaperTrainer -p SpineTransUNetPaperPlans
    """

    network_name = "transunet"


__getattr__ = epoch_variants(globals())
