"""Geometry, labels, the writer of nnU-Net raw datasets, splits, crops, the phantom. Never nnU-Net."""
