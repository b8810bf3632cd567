"""A trainer whose epochs visit a drawn part of the cases, a fixed number of windows each."""

from __future__ import annotations

from typing import Any, ClassVar

from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import distributed

from nnunet_spine_ext.training.sampling import (
    BatchSchedule,
    EpochSubsets,
    ScheduledDataLoader,
    in_order,
    stock_loader,
)
from nnunet_spine_ext.training.seeds import fold_seed
from nnunet_spine_ext.training.trainer import SpineTrainer


class SubsetTrainer(SpineTrainer):
    """Each epoch trains `windows_per_case` random windows of each of `case_fraction` of the training cases.

    The number of iterations follows from that and the batch size, unless the recipe fixes it.
    """

    case_fraction: ClassVar[float] = 1.0
    windows_per_case: ClassVar[int] = 1

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Return nnU-Net's loaders, the training one on the schedule of the subsets."""
        train, validation = super().get_dataloaders()
        loader = stock_loader(train)
        subsets = EpochSubsets(
            cases=tuple(sorted(loader.indices)),
            fraction=self.case_fraction,
            windows_per_case=self.windows_per_case,
            seed=fold_seed(self.seed, fold=self.fold),
        )
        batch_size = self.configuration_manager.batch_size
        if self.recipe.training_iterations is None:
            self.num_iterations_per_epoch = subsets.iterations(batch_size)
        self.print_to_log_file(
            f"An epoch: {subsets.cases_per_epoch} of {len(subsets.cases)} cases, {self.windows_per_case} windows each"
            f"; {self.num_iterations_per_epoch} iterations of batch size {batch_size}."
        )
        ranks = distributed.get_world_size() if self.is_ddp else 1
        schedule = BatchSchedule(
            subsets=subsets,
            first_epoch=self.current_epoch,
            iterations_per_epoch=self.num_iterations_per_epoch,
            global_batch_size=batch_size,
            share=slice(self.local_rank, None, ranks),
        )
        workers = get_allowed_n_proc_DA()
        scheduled = ScheduledDataLoader.like(
            loader, label_manager=self.label_manager, schedule=schedule, workers=workers
        )
        return in_order(scheduled, workers=workers, pin_memory=self.device.type == "cuda"), validation
