"""Accuracy along an axis: worse images (robustness), or fewer epochs (low budget)."""
