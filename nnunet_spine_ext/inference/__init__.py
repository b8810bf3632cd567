"""Prediction that never holds the logits of all structures at the size of the original image.

nnU-Net's predictor does the network's part; ours are the label maps made of its logits, structure by structure, and the
threads that replace nnU-Net's processes. The label maps are those of nnU-Net.
"""
