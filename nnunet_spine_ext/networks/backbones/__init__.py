"""Published encoders (ResNet, ResNeXt, Res2Net, DenseNet) and what the heads on them share."""
