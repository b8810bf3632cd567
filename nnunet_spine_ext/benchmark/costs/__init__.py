"""What each model of a comparison costs: counted, measured, or read from nnU-Net's logs."""
