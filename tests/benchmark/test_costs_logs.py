"""Hours from nnU-Net's training logs: an excerpt of a real one, and what kills and moves do to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.costs.logs import epoch_seconds, finished_folds, training_time

EXCERPT = """
#######################################################################
Please cite the following paper when using nnU-Net:
#######################################################################
 
Trainer: SpineHybridTrainer_3epochs_2iterations, from trainers/spine_hybrid.py 
2026-11-21 08:24:17.369781: do_dummy_2d_data_aug: True 
2026-11-21 08:24:17.370027: Using splits from existing split file: Dataset901_Tiny/splits_final.json 

This is the configuration used by this training:
Configuration name: 3d_fullres
 {'data_identifier': 'nnUNetPlans_3d_fullres', 'batch_size': 2, 'patch_size': [4, 32, 32]} 
 
Memory of a training step, counted: 0.00 GB (nnUNetPlans was made for 8 GB; on the CPU). 
2026-11-21 08:24:18.661862:  
2026-11-21 08:24:18.661917: Epoch 0 
2026-11-21 08:24:18.662028: Current learning rate: 0.01 
2026-11-21 08:24:20.096456: train_loss 1.2699 
2026-11-21 08:24:20.096644: val_loss 0.7721 
2026-11-21 08:24:20.096700: Pseudo dice [np.float32(0.2054), np.float32(0.1621)] 
2026-11-21 08:24:20.096754: Epoch time: 1.44 s 
2026-11-21 08:24:20.096783: Yayy! New best EMA pseudo Dice: 0.18379999697208405 
2026-11-21 08:24:20.835775:  
2026-11-21 08:24:20.835921: Epoch 1 
2026-11-21 08:24:20.836041: Current learning rate: 0.00694 
2026-11-21 08:24:22.670484: train_loss 0.7043 
2026-11-21 08:24:22.670672: val_loss 0.5394 
2026-11-21 08:24:22.670708: Pseudo dice [np.float32(0.0371), np.float32(0.2095)] 
2026-11-21 08:24:22.670757: Epoch time: 1.84 s 
2026-11-21 08:24:23.492928:  
2026-11-21 08:24:23.493069: Epoch 2 
2026-11-21 08:24:23.493188: Current learning rate: 0.00372 
2026-11-21 08:24:24.262694: train_loss 0.5497 
2026-11-21 08:24:24.262879: val_loss 0.4256 
2026-11-21 08:24:24.262917: Pseudo dice [np.float32(0.0), np.float32(0.2579)] 
2026-11-21 08:24:24.262967: Epoch time: 0.77 s 
2026-11-21 08:24:25.168581: Training done. 
2026-11-21 08:24:25.180754: predicting t4 
2026-11-21 08:24:33.424237: Validation complete 
2026-11-21 08:24:33.424371: Mean Validation Dice:  0.05604719764011799 
"""  # noqa: W291, W293  (nnU-Net ends its lines with a space)


def log_of(*epochs: tuple[int, float], cut: int | None = None) -> str:
    """A log with these epochs, and one that a kill cut off."""
    lines = [
        line
        for epoch, seconds in epochs
        for line in (f"2026-11-21 08:00:00.000000: Epoch {epoch} ", f"2026-11-21 08:00:01.5: Epoch time: {seconds} s ")
    ]
    return "\n".join([*lines, *([f"2026-11-21 08:00:02.000000: Epoch {cut} "] if cut is not None else [])])


def write_fold(
    model: Path, fold: str, *, finished: bool = True, debug: dict[str, str] | None = None, **logs: str
) -> None:
    folder = model / f"fold_{fold}"
    folder.mkdir(parents=True)
    for started, text in logs.items():
        (folder / f"training_log{started}.txt").write_text(text)
    if finished:
        (folder / "checkpoint_final.pth").touch()
    if debug is not None:
        (folder / "debug.json").write_text(json.dumps(debug))


def test_epochs_of_a_real_log() -> None:
    assert epoch_seconds(EXCERPT) == {0: 1.44, 1: 1.84, 2: 0.77}


def test_hours_are_the_median_epoch_times_the_epochs(tmp_path: Path) -> None:
    debug = {"gpu_name": "NVIDIA A100", "device": "cuda:0", "num_iterations_per_epoch": "250"}
    write_fold(tmp_path, "0", _2026_11_21_08_00_00=log_of((0, 90.0), (1, 30.0), (2, 31.0), (3, 32.0)), debug=debug)
    write_fold(tmp_path, "1", _2026_11_21_09_00_00=log_of((0, 80.0), (1, 33.0), (2, 29.0), (3, 28.0)), debug=debug)
    write_fold(tmp_path, "2", finished=False, _2026_11_21_10_00_00=log_of((0, 500.0), cut=1), debug=debug)
    time = training_time(finished_folds(tmp_path))
    assert time is not None
    assert time.epoch_seconds == 31.5  # of 28 29 30 31 32 33 80 90
    assert time.hours == pytest.approx(4 * 31.5 / 3600)
    assert (time.folds, time.devices, time.iterations, time.epochs) == (("0", "1"), ("NVIDIA A100",), 250, 4)


def test_of_an_epoch_trained_twice_the_later_counts(tmp_path: Path) -> None:
    # Killed in epoch 3, continued from the checkpoint after epoch 1. Names sort September after October.
    write_fold(
        tmp_path,
        "0",
        _2026_9_30_23_00_00=log_of((0, 10.0), (1, 11.0), (2, 99.0), cut=3),
        _2026_10_1_01_00_00=log_of((2, 12.0), (3, 13.0)),
        debug={"device": "cpu"},
    )
    (log,) = finished_folds(tmp_path)
    assert log.epoch_seconds == (10.0, 11.0, 12.0, 13.0)
    assert (log.epochs, log.iterations, log.device) == (4, None, "cpu")


def test_a_log_that_was_lost_leaves_the_number_of_epochs(tmp_path: Path) -> None:
    write_fold(tmp_path, "0", _2026_10_1_01_00_00=log_of((998, 36.0), (999, 36.0)))
    time = training_time(finished_folds(tmp_path))
    assert time is not None
    assert time.hours == pytest.approx(10.0)
    assert time.devices == ("an unknown device",)


def test_without_a_finished_fold_there_is_no_time(tmp_path: Path) -> None:
    write_fold(tmp_path, "0", finished=False, _2026_10_1_01_00_00=log_of((0, 1.0)))
    write_fold(tmp_path, "1")  # weights that somebody copied, without a log
    assert finished_folds(tmp_path) == []
    assert training_time([]) is None
