"""Paper 000: what its hybrid is compared with and descends from."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.rows.sources import CITE_000, PAPER_000, known_size

ROWS: tuple[NetworkEntry, ...] = (
    NetworkEntry(
        name="unetpp",
        family="u-shape",
        paper="UNet++: Redesigning Skip Connections to Exploit Multiscale Features in Image Segmentation (TMI 2020)",
        cite="Zhou 2020",
        summary="U-Nets of every depth nested in one another, all trained at full resolution",
        dims=(2, 3),
        network="nnunet_spine_ext.networks.unetpp.SpineUNetPP",
        preset="nnunet_spine_ext.networks.unetpp.paper_unetpp",
        oracles=(known_size("UNet++ L4, widths 32 to 512, four heads of one class", 9_041_700),),
        trainers=("SpineUNetPPTrainer",),
        supervision="full",
    ),
    NetworkEntry(
        name="unetpp-paper000",
        family="slice",
        paper=PAPER_000,
        cite=CITE_000,
        summary="the 2D UNet++ that paper 000 compares with: residual blocks, nearest nodes only",
        dims=(2,),
        network="nnunet_spine_ext.networks.unetpp_paper.SpineUNetPPPaper",
        preset="nnunet_spine_ext.networks.unetpp_paper.paper_unetpp_000",
        oracles=(
            known_size("paper 000, UNet++, width 32", 1_962_720, width=32),
            known_size("paper 000, UNet++, width 64", 7_830_976, width=64),
        ),
        trainers=("SpineUNetPPPaperTrainer",),
    ),
    NetworkEntry(
        name="acc-unet",
        family="u-shape",
        paper="ACC-UNet: A Completely Convolutional UNet Model for the 2020s (MICCAI 2023)",
        cite="Ibtehaz 2023",
        summary="blocks that compare neighbourhoods, skip connections that read one another",
        dims=(2, 3),
        network="nnunet_spine_ext.networks.acc_unet.SpineACCUNet",
        preset="nnunet_spine_ext.networks.acc_unet.paper_acc_unet",
        oracles=(known_size("ACC-UNet, 3 channels in, 1 logit out", 16_771_245),),
        trainers=("SpineACCUNetTrainer",),
    ),
    NetworkEntry(
        name="ux-net",
        family="u-shape",
        paper="3D UX-Net: A Large Kernel Volumetric ConvNet Modernizing Hierarchical Transformer (ICLR 2023)",
        cite="Lee 2023",
        summary="large depthwise kernels in the encoder, residual blocks in the decoder",
        dims=(2, 3),
        network="nnunet_spine_ext.networks.ux_net.SpineUXNet",
        preset="nnunet_spine_ext.networks.ux_net.paper_ux_net",
        oracles=(known_size("3D UX-Net, 1 channel in, 5 classes", 53_006_069),),
        trainers=("SpineUXNetTrainer", "SpineUXNetAdamWTrainer"),
    ),
)
