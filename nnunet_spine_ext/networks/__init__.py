"""Networks: one family per file, blocks one idea per file, one registry. Torch and timm only, never nnU-Net."""
