"""The progress of a training, from logs as nnU-Net writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.jobs.progress import Progress, last_sign_of_life, parse_log, read_progress

FIRST = """
2026-11-21 08:00:00.100000: Using splits from existing split file: /x/splits_final.json
2026-11-21 08:00:01.100000:
2026-11-21 08:00:01.100001: Epoch 0
2026-11-21 08:00:01.100002: Current learning rate: 0.01
2026-11-21 08:00:11.100000: train_loss -0.1
2026-11-21 08:00:11.100001: val_loss -0.2
2026-11-21 08:00:11.100002: Pseudo dice [np.float32(0.5), np.float32(0.7)]
2026-11-21 08:00:11.100003: Epoch time: 10.0 s
2026-11-21 08:00:11.100004: Yayy! New best EMA pseudo Dice: 0.6
2026-11-21 08:00:11.200000:
2026-11-21 08:00:11.200001: Epoch 1
2026-11-21 08:00:41.100002: Pseudo dice [np.float64(0.25), nan, np.float64(0.75)]
2026-11-21 08:00:41.100003: Epoch time: 30.0 s
2026-11-21 08:00:41.200001: Epoch 2
"""
SECOND = """
2026-11-21 09:00:01.100001: Epoch 2
2026-11-21 09:00:11.100002: Pseudo dice [0.5, 1e-05]
2026-11-21 09:00:11.100003: Epoch time: 12.0 s
2026-11-21 09:00:11.200003: predicting case_1
2026-11-21 09:00:12.200003: predicting case_2
2026-11-21 09:00:13.200003: predicting case_1
"""


def test_epoch_dice_and_time_left_of_a_first_run() -> None:
    progress = parse_log(FIRST.splitlines(), epochs=10)
    assert progress == Progress(epoch=2, epochs=10, dice=0.5, epoch_seconds=20.0)
    assert progress.seconds_left == 8 * 20.0


def test_a_continued_run_goes_on_from_the_first_ones_log(tmp_path: Path) -> None:
    (tmp_path / "training_log_2026_11_21_08_00_00.txt").write_text(FIRST)
    (tmp_path / "training_log_2026_11_21_09_00_00.txt").write_text(SECOND)
    (tmp_path / "debug.json").write_text(json.dumps({"num_epochs": "3"}))
    progress = read_progress(tmp_path)
    assert progress.dice == pytest.approx((0.5 + 1e-5) / 2)
    assert (progress.epoch, progress.epochs, progress.epoch_seconds, progress.validated) == (3, 3, 12.0, 2)
    assert progress.seconds_left == 0


def test_nothing_is_known_before_a_log_is_there(tmp_path: Path) -> None:
    assert read_progress(tmp_path / "fold_0") == Progress()
    assert Progress().seconds_left is None
    assert last_sign_of_life(tmp_path / "fold_0") is None


def test_only_nan_is_no_dice() -> None:
    assert parse_log(["2026-11-21 08:00:11.1: Pseudo dice [np.float64(nan), nan]"]).dice is None
