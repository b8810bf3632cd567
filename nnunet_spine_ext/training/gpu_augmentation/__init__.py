"""nnU-Net's augmentation of a whole batch on the GPU: parameters drawn by its own transforms, applied by ours."""
