"""nnU-Net's trainer with what the environment may ask of any training: a seed, and checkpoints to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_spine_ext.training.kept_epochs import kept_checkpoint_name, kept_epochs_in_environment, without_effect
from nnunet_spine_ext.training.seeds import (
    SEED_KEY,
    best_so_far,
    seed_epoch,
    seed_in_environment,
    seed_lines,
    seed_network,
)


class RepeatableTrainer(nnUNetTrainer):
    """nnU-Net's own trainer where the environment names neither a seed nor epochs to keep."""

    seed: int | None = None
    """Of the environment, read by `initialize`; None = random numbers as nnU-Net has them."""
    kept_epochs: tuple[int, ...] = ()
    """Numbers of epochs after which a checkpoint stays, read from the environment by `initialize`."""

    def initialize(self) -> None:
        """Build as nnU-Net does, with the random numbers of the seed, if there is one.

        Raises:
            SetupError: the seed or the epochs to keep are no whole numbers.
        """
        self.seed, self.kept_epochs = seed_in_environment(), kept_epochs_in_environment()
        if self.seed is not None:
            self.my_init_kwargs[SEED_KEY] = self.seed
            seed_network(self.seed, fold=self.fold)
        super().initialize()
        for line in seed_lines(self.seed, device=self.device, workers=get_allowed_n_proc_DA()):
            self.print_to_log_file(line, add_timestamp=False)

    def on_train_start(self) -> None:
        """Start as nnU-Net does; tell of epochs to keep that this run does not write."""
        if not self.was_initialized:
            self.initialize()
        self._start_random_numbers()  # before there are workers, which inherit them
        super().on_train_start()
        self._keep_checkpoint()  # if the last run ended between nnU-Net's own checkpoint and the one to keep
        kept, folder = self.kept_epochs, Path(self.output_folder)
        for line in without_effect(kept, done=self.current_epoch, total=self.num_epochs, folder=folder):
            self.print_to_log_file(line, add_timestamp=False)

    def on_epoch_start(self) -> None:
        """Start an epoch as nnU-Net does, with the random numbers of the seed, if there is one."""
        super().on_epoch_start()
        self._start_random_numbers()

    def on_epoch_end(self) -> None:
        """End an epoch as nnU-Net does, checkpoints included, and keep one if the environment names this epoch."""
        super().on_epoch_end()
        self._keep_checkpoint()

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load as nnU-Net does; tell if the checkpoint is of another seed."""
        super().load_checkpoint(filename_or_checkpoint)
        trained = self.my_init_kwargs.pop(SEED_KEY, None)
        if trained != self.seed:
            self.print_to_log_file(f"WARNING: the checkpoint was trained with seed {trained}, now it is {self.seed}.")
        if self.seed is not None:
            self.my_init_kwargs[SEED_KEY] = self.seed
            # nnU-Net saves checkpoint_latest before it looks whether the epoch was the best.
            self._best_ema = best_so_far(self.logger.get_value("ema_fg_dice", step=None))

    def _start_random_numbers(self) -> None:
        if self.seed is not None:
            seed_epoch(self.seed, fold=self.fold, epoch=self.current_epoch, rank=self.local_rank)

    def _keep_checkpoint(self) -> None:
        """Save what the epochs so far have reached, if it is to be kept."""
        if self.current_epoch not in self.kept_epochs:
            return
        name = kept_checkpoint_name(self.current_epoch)
        self.current_epoch -= 1  # nnU-Net's checkpoints count on from the epoch that has ended
        try:
            self.save_checkpoint(str(Path(self.output_folder) / name))
        finally:
            self.current_epoch += 1
