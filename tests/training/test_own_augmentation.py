from __future__ import annotations

import pickle
from collections.abc import Sequence

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform

from nnunet_spine_ext.training.augmentation import AxisFlips
from nnunet_spine_ext.training.own_augmentation import OwnAugmentation
from tests.training.tiny import MakeTrainer


class Nothing(OwnAugmentation):
    pass


class Flips(OwnAugmentation):
    def augmentations(self, *, rotation: tuple[float, float], mirror_axes: Sequence[int]) -> list[BasicTransform]:
        assert rotation == (-1.0, 1.0)
        return [AxisFlips(mirror_axes, probability=1)]


def transforms(trainer: OwnAugmentation, *, masked: list[bool], axes: tuple[int, ...] = ()) -> BasicTransform:
    made: BasicTransform = trainer.get_training_transforms([1, 2, 2], (-1.0, 1.0), None, axes, False, masked)
    return made


def test_masking_uses_the_mask_before_it_is_removed(make_trainer: MakeTrainer) -> None:
    # -1 marks what lies outside the non-zero mask; nnU-Net's validation transforms turn it into background.
    image, labels = torch.ones(2, 1, 2, 2), torch.tensor([[[[-1, 0], [1, -1]]]])
    result = transforms(make_trainer(Nothing), masked=[False, True])(image=image, segmentation=labels)
    assert result["image"][0].tolist() == [[[1, 1], [1, 1]]]
    assert result["image"][1].tolist() == [[[0, 1], [1, 0]]]
    assert result["segmentation"].tolist() == [[[[0, 0], [1, 0]]]]


def test_the_mask_turns_with_the_window(make_trainer: MakeTrainer) -> None:
    image, labels = torch.ones(1, 1, 2, 2), torch.tensor([[[[-1, 0], [1, 0]]]])
    made = pickle.loads(pickle.dumps(transforms(make_trainer(Flips), masked=[True], axes=(2,))))
    result = made(image=image, segmentation=labels)
    assert result["image"].tolist() == [[[[1, 0], [1, 1]]]]
    assert result["segmentation"].tolist() == [[[[0, 0], [0, 1]]]]
