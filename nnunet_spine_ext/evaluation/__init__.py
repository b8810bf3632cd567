"""Metrics and the tidy table of cases. Never nnU-Net."""
