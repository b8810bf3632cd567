"""Spine segmentation networks, trainers, planning, conversion and fair comparison for unmodified nnU-Net v2."""

from nnunet_spine_ext.paths import trainers_dir

__all__ = ["__version__", "trainers_dir"]

__version__ = "0.1.0"
