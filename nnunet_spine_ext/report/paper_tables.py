"""What the papers print about their networks, for "paper vs measured": facts, typed once, with their sources.

Percentages stay percentages, digits stay as printed. `differs` says why a figure measured here is not the paper's.
Paper 001 prints no table: its results are a drawing, and a sentence on accuracy after 1000 epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAMES_003 = (
    "S", "L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "L5/S", "L4/L5", "L3/L4", "L2/L3", "L1/L2",
    "T12/L1", "T11/T12", "T10/T11", "T9/T10",
)  # fmt: skip
NAMES_004 = ("S", "L5", "L4", "L3", "L2", "L1", "T12", "T11")


@dataclass(frozen=True, kw_only=True)
class PaperColumn:
    """A column of a paper's table, and the figure here that stands beside it."""

    heading: str
    kind: Literal["metric", "structure", "cost", "none"]
    """`metric`: mean over cases of their mean over structures. `structure`: mean over cases of one structure."""
    what: str = ""
    """The metric, or the quantity of costs."""
    structure: str = ""
    factor: float = 1.0
    """From our unit to the paper's: 100 for percentages."""
    decimals: int = 2


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A line of a paper's table."""

    name: str
    network: str
    """The network here, as in the names of its trainers, in small letters; empty where we have none."""
    printed: tuple[str, ...]
    """Values as printed, a deviation after ±."""

    @property
    def values(self) -> tuple[float, ...]:
        """Return the values, without deviations."""
        return tuple(float(text.partition("±")[0]) for text in self.printed)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table of a paper."""

    key: str
    source: str
    setting: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    differs: tuple[str, ...]


def _rows(text: str) -> tuple[PaperRow, ...]:
    """Return the rows of lines `name | network | value value …`; an indented line goes on with the one before."""
    joined = text.strip().replace("\n            ", " ")
    lines = ([part.strip() for part in line.split("|")] for line in joined.splitlines())
    return tuple(PaperRow(name=name, network=network, printed=tuple(values.split())) for name, network, values in lines)


def _metric(heading: str, what: str, *, factor: float = 1.0, decimals: int = 2) -> PaperColumn:
    return PaperColumn(heading=heading, kind="metric", what=what, factor=factor, decimals=decimals)


def _cost(heading: str, what: str, *, factor: float = 1.0, decimals: int = 2) -> PaperColumn:
    return PaperColumn(heading=heading, kind="cost", what=what, factor=factor, decimals=decimals)


def _structures(names: tuple[str, ...], what: str) -> tuple[PaperColumn, ...]:
    return tuple(PaperColumn(heading=n, kind="structure", what=what, structure=n, factor=100) for n in names)


def _unlike(heading: str) -> PaperColumn:
    return PaperColumn(heading=heading, kind="none")


_PAPER_003 = "Review of Deep Learning Models for Spine Segmentation (ICMR 2022)"
_PAPER_004 = "Spine MRI image segmentation method based on ASPP and U-Net network (2023)"

_SLICES_003 = (
    "Dice is taken slice by slice; a slice without the structure, in which none is predicted, very probably counts as "
    "1. Here a case counts once, and a structure in neither is left out. The paper's figures are therefore higher, "
    "most of all for T9, T10, T9/T10 and T10/T11, whose columns are the same in nearly every row."
)
_SPLIT_003 = "One split of 8 : 2 of a course's 200 images, without a deviation; here cases are held out fold by fold."
_GROUND_004 = (
    "172 training cases of MRSpineSeg, cut to 12 x 464 x 880, with S, L5 to L1, T12 and T11 only; T9, T10 and all "
    "discs were background. Here the mean goes over every structure of the dataset."
)
_LENGTH_004 = "The paper's networks were trained for 50 epochs, its nnU-Net for 1000."
_SD_004 = "± is the paper's; it does not say whether over folds or over cases."

PAPER_TABLES: tuple[PaperTable, ...] = (
    PaperTable(
        key="paper000_table1",
        source="Automatic spine segmentation based on an UNet combining 2D and 3D modules (SCUT, 2023), table 1",
        setting="195 T2 images, spine against background, five folds by its text",
        columns=(
            _metric("DSC", "dice", decimals=4),
            _metric("PPV", "ppv", decimals=4),
            _metric("Sensitivity", "sensitivity", decimals=4),
        ),
        rows=_rows("""
        UNet++ | unetpppaper | 0.9058 0.9301 0.8828
        only ResBlock | hybridres | 0.9071 0.9370 0.8790
        without UX-Net block | hybridnoux | 0.9031 0.9258 0.8815
        without HANC block | hybridnohanc | 0.9116 0.9386 0.8862
        its hybrid | hybrid | 0.9119 0.9361 0.8890
        """),
        differs=(
            "One class there, the spine; a mean over several structures is a harder measure.",
            (
                "Its hybrids were measured on overlapping windows at native size, its UNet++ on slices shrunk to "
                "256 x 256."
            ),
            (
                "The threshold was chosen on the cases that were measured, and its code has one split instead of "
                "five, in which training and test cases overlap for some rows."
            ),
        ),
    ),
    PaperTable(
        key="paper002_table1",
        source="CT Image Segmentation (MSc dissertation, Cardiff, 2021), table 1",
        setting="slices of lung CT, lung against background",
        columns=(
            _metric("Accuracy (%)", "accuracy", factor=100),
            _metric("Dice", "dice", decimals=4),
            _unlike("Seconds an image"),
        ),
        rows=_rows("""
        ver1 | ctunet | 95.56230307 0.941433191 0.029
        ver2 | ctunet | 99.28712249 0.985901713 0.095
        ver3 | ctunetspconv | 98.98146987 0.980378211 0.141
        ver4 | ctunetra | 99.31240082 0.986650705 0.129
        ver5 | ctunetconvmodule | 98.69464636 0.969237983 0.538
        """),
        differs=(
            "Lungs in CT: no figure of a spine can stand beside it.",
            "ver5 was trained for 10 epochs, the others for 100. ver1 and ver2 are one network.",
            (
                "The weights of RA in ver4 and ver5 were never trained there. Seconds are those of one slice on the "
                "paper's GPU."
            ),
        ),
    ),
    PaperTable(
        key="paper003_table1",
        source=f"{_PAPER_003}, table 1",
        setting="200 T2 images, 20 classes, one split of 8 : 2",
        columns=(
            _metric("Dice (%)", "dice", factor=100),
            _metric("mIoU (%)", "iou", factor=100),
            _unlike("FN rate (%)"),
            _unlike("FP rate (%)"),
            _metric("Recall (%)", "sensitivity", factor=100),
        ),
        rows=_rows("""
        U-Net | unet003 | 79.87 74.02 34.04 1.21 83.90
        PSPNet | pspnet | 87.38 81.79 22.19 2.69 92.24
        DeepLabv3+ | deeplabv3plus | 87.55 81.80 18.45 0.11 90.81
        DenseASPP | denseaspp | 71.44 67.13 57.42 0.15 74.67
        Attention U-Net | attentionunet | 75.55 70.00 36.33 0.18 78.98
        DANet | danet | 84.74 77.35 30.82 0.25 88.95
        EMANet | emanet | 87.32 81.63 15.88 0.13 90.47
        Inf-Net | infnet | 81.24 75.42 42.28 0.37 90.92
        MiniSeg | miniseg | 85.69 79.25 42.29 2.40 90.63
        PSANet | psanet | 87.04 81.18 27.45 0.16 89.94
        ResUNet++ | resunetpp | 83.14 77.10 18.89 0.46 86.78
        TransUNet | transunet | 76.57 70.53 40.62 0.31 79.56
        """),
        differs=(
            _SLICES_003,
            _SPLIT_003,
            (
                "How it averages over classes is unknown: this Dice is not the mean of its own table 2. FN rate and "
                "recall add up to more than 100 %, so the FN rate has no counterpart here."
            ),
        ),
    ),
    PaperTable(
        key="paper003_table2",
        source=f"{_PAPER_003}, table 2: Dice (%) of each structure",
        setting="as its table 1",
        columns=(
            *_structures(NAMES_003, "dice"),
            _metric("mDice", "dice", factor=100),
        ),
        rows=_rows("""
        U-Net | unet003 | 88.80 83.93 72.20 70.92 71.44 71.77 73.32 68.87 85.21 94.67 16.77 80.00
            75.83 78.06 80.12 84.37 82.83 79.88 96.45 76.59
        PSPNet | pspnet | 87.82 87.72 85.51 85.58 83.08 81.63 78.48 74.97 85.21 94.67 84.76 85.20
            87.91 88.13 89.13 91.47 87.06 79.88 96.45 86.03
        DeepLabv3+ | deeplabv3plus | 87.75 87.10 85.17 86.07 84.02 83.52 80.02 76.58 85.21 94.67
            85.60 85.50 87.39 87.70 89.39 91.62 90.47 79.88 96.45 86.53
        DenseASPP | denseaspp | 87.34 87.31 84.67 84.26 82.53 81.77 80.35 74.07 85.21 94.67 16.77
            14.20 85.59 87.14 26.04 32.35 41.22 79.88 96.45 69.57
        Attention U-Net | attentionunet | 87.97 83.56 70.29 67.55 63.11 69.77 70.44 9.86 85.21 94.67
            84.85 77.54 71.13 71.67 71.26 81.96 41.22 79.88 96.45 72.55
        DANet | danet | 81.55 82.42 80.22 79.70 75.94 74.18 72.24 67.93 85.21 94.67 82.74 82.54
            86.43 84.89 87.07 86.96 86.44 91.60 96.45 83.12
        EMANet | emanet | 87.35 87.52 86.13 85.78 83.54 82.79 79.09 74.15 85.21 94.67 84.16 83.56
            87.33 87.52 89.23 90.61 86.11 79.88 96.45 85.85
        Inf-Net | infnet | 87.80 87.25 85.01 83.62 81.28 83.01 79.23 71.76 85.21 0.97 85.03 86.07
            88.07 87.51 84.85 90.94 87.25 89.85 96.45 81.11
        MiniSeg | miniseg | 86.29 86.05 84.03 83.10 79.42 77.79 74.88 70.85 88.83 94.67 83.66 84.65
            85.72 86.67 87.66 88.49 85.32 92.59 97.30 85.16
        PSANet | psanet | 87.41 87.56 86.04 85.70 81.55 80.88 78.84 75.07 85.21 94.67 84.80 84.06
            87.15 86.38 87.94 89.75 87.01 79.88 96.45 85.60
        ResUNet++ | resunetpp | 87.37 85.59 78.46 74.35 72.45 77.11 76.07 70.55 85.21 94.67 82.11
            82.32 79.27 77.08 81.79 88.85 85.68 79.88 96.45 81.85
        TransUNet | transunet | 86.15 79.69 71.91 74.00 71.02 68.32 65.32 59.27 85.21 94.67 16.77
            73.52 75.00 78.56 81.33 81.53 80.65 79.88 96.45 74.70
        """),
        differs=(
            _SLICES_003,
            _SPLIT_003,
        ),
    ),
    PaperTable(
        key="paper003_table3",
        source=f"{_PAPER_003}, table 3: costs",
        setting="one image of 880 x 880",
        columns=(
            _cost("Parameters (M)", "parameters", factor=1e-6),
            _cost("FLOPs (G)", "gmac"),
            _cost("Memory (GB)", "measured_training_memory_gb"),
        ),
        rows=_rows("""
        U-Net | unet003 | 13 366.85 4.30
        PSPNet | pspnet | 27 470.54 2.54
        DeepLabv3+ | deeplabv3plus | 59 261.38 3.09
        DenseASPP | denseaspp | 18 124.4 4.43
        Attention U-Net | attentionunet | 34 787.19 7.06
        DANet | danet | 66 139.01 2.53
        EMANet | emanet | 53 681.19 7.67
        Inf-Net | infnet | 50 192.55 3.66
        MiniSeg | miniseg | 0.083 1.5 5.41
        PSANet | psanet | 78 482.13 8.19
        ResUNet++ | resunetpp | 14 836.62 8.88
        TransUNet | transunet | 110 514.03 4.78
        """),
        differs=(
            "One slice of 880 x 880 there; here the patch of each model's plan.",
            (
                "Its FLOPs are multiply-accumulates, which are GMAC here. Its memory is that of one image; here "
                "that of a training step."
            ),
        ),
    ),
    PaperTable(
        key="paper004_table3_dsc",
        source=f"{_PAPER_004}, table 3: DSC (%)",
        setting="MRSpineSeg, 172 cases, 8 vertebrae, five folds",
        columns=(
            *_structures(NAMES_004, "dice"),
            _metric("Mean", "dice", factor=100),
        ),
        rows=_rows("""
        U-Net-2D | unet2d004 | 85.0±1.3 88.5±2.4 87.4±2.3 78.5±4.2 67.5±2.1 75.8±3.2 78.4±1.5
            78.4±4.2 79.94±2.65
        SegNet | segnet | 84.2±1.9 87.0±1.9 83.2±2.2 81.6±2.3 70.5±1.9 77.1±1.2 77.9±1.5 78.3±3.1
            79.98±2.01
        DeepLabV3 | deeplabv3 | 87.5±2.1 86.5±2.2 85.0±2.5 80.5±3.2 75.3±3.5 83.4±1.5 81.5±1.2
            84.0±3.1 82.96±2.41
        U-Net-3D | unet3d004 | 86.3±1.5 89.5±2.1 88.5±3.2 82.8±2.8 77.5±2.1 85.7±2.6 83.4±2.5
            84.8±2.1 84.81±2.36
        nnU-Net-2D |  | 85.2±1.2 85.5±3.2 86.7±2.4 86.4±2.1 84.4±1.9 81.8±1.5 83.7±1.6 89.0±2.4
            85.34±2.04
        ASPP-UNet | asppunet | 88.4±1.5 91.0±2.5 89.1±2.4 87.5±2.5 84.0±2.3 82.0±2.1 82.7±1.4
            88.1±2.8 86.6±2.19
        """),
        differs=(
            _GROUND_004,
            _LENGTH_004,
            _SD_004,
        ),
    ),
    PaperTable(
        key="paper004_table3_miou",
        source=f"{_PAPER_004}, table 3: MIoU (%)",
        setting="as for DSC",
        columns=(
            *_structures(NAMES_004, "iou"),
            _metric("Mean", "iou", factor=100),
        ),
        rows=_rows("""
        U-Net-2D | unet2d004 | 73.5±0.9 78.3±1.5 76.3±2.9 64.5±1.6 54.2±2.5 60.8±2.8 66.2±3.4
            64.9±2.5 67.34±2.26
        SegNet | segnet | 74.7±1.5 78.5±1.7 75.6±1.4 66.7±1.9 52.0±2.9 61.7±1.4 66.0±3.9 62.9±1.8
            67.26±2.06
        DeepLabV3 | deeplabv3 | 79.2±0.5 76.1±2.3 74.1±2.3 68.5±2.1 64.2±3.4 71.4±2.6 68.1±2.9
            73.1±1.8 71.84±2.24
        U-Net-3D | unet3d004 | 78.2±0.8 81.5±2.1 81.4±2.5 71.4±1.2 64.3±2.1 74.8±2.7 73.4±2.7
            74.4±2.5 74.93±2.08
        nnU-Net-2D |  | 78.2±1.2 79.4±1.7 75.9±1.5 77.5±0.7 72.3±4.5 68.9±1.8 68.4±2.4 78.7±1.6
            74.83±1.93
        ASPP-UNet | asppunet | 79.1±0.9 80.8±1.2 78.0±1.9 78.3±1.4 72.4±3.4 68.3±2.6 69.1±3.0
            77.9±1.4 75.49±1.98
        """),
        differs=(
            _GROUND_004,
            _LENGTH_004,
            _SD_004,
            "The row of nnU-Net has a mean of 74.91; 74.83 is printed.",
        ),
    ),
    PaperTable(
        key="paper004_table4",
        source=f"{_PAPER_004}, table 4: costs",
        setting="one image of 12 x 464 x 880",
        columns=(
            _cost("Parameters (M)", "parameters", factor=1e-6),
            _cost("Seconds an image", "inference_seconds_per_case", decimals=3),
        ),
        rows=_rows("""
        U-Net-2D | unet2d004 | 15.08 0.163
        SegNet | segnet | 15.21 0.17
        DeepLabV3 | deeplabv3 | 46.9 0.198
        U-Net-3D | unet3d004 | 31.03 0.221
        nnU-Net-2D |  | 60.5 0.292
        ASPP-UNet | asppunet | 22.06 0.171
        """),
        differs=(
            "Another GPU and another patch; here seconds are those of a whole case with nnU-Net's prediction.",
            "31.03 M, printed for U-Net-3D, is the size of a two-dimensional U-Net.",
        ),
    ),
)
