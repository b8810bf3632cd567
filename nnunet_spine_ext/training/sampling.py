"""Epochs that visit a drawn part of the cases, a fixed number of windows each (paper 000: 40 % of them, 16 windows).

nnU-Net's loader draws a case at random for each window and knows no epochs; its workers hold copies of it and run
ahead of the training. So the schedule is a pure function of (seed, epoch, iteration): worker w of n produces the
batches w, w + n, w + 2n, ... and `MultiThreadedAugmenter` hands them over in that order. Nothing has to be told to the
workers when an epoch begins, a batch is never of the wrong epoch, and a continued training goes on as if undisturbed.
Only the place of a window in its case, and the augmentation, are drawn afresh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager


@dataclass(frozen=True, kw_only=True)
class EpochSubsets:
    """Which cases an epoch visits, and in which order its windows come.

    Raises:
        ValueError: there are no cases, or the fraction is not in (0, 1].
    """

    cases: tuple[str, ...]
    fraction: float
    windows_per_case: int
    seed: int

    def __post_init__(self) -> None:
        if not self.cases or not 0 < self.fraction <= 1 or self.windows_per_case < 1:
            raise ValueError(
                f"expected cases, a fraction in (0, 1] and at least one window a case, got {len(self.cases)} cases, "
                f"{self.fraction} and {self.windows_per_case}"
            )

    @property
    def cases_per_epoch(self) -> int:
        """Number of cases that one epoch visits, at least 1."""
        return max(1, round(self.fraction * len(self.cases)))

    def iterations(self, batch_size: int) -> int:
        """Return the number of batches that hold all windows of an epoch."""
        return math.ceil(self.cases_per_epoch * self.windows_per_case / batch_size)

    def windows(self, epoch: int) -> list[str]:
        """Return the case of each window of `epoch`, shuffled; each drawn case comes `windows_per_case` times."""
        random = np.random.default_rng([self.seed, epoch])
        drawn = random.choice(len(self.cases), size=self.cases_per_epoch, replace=False)
        order = random.permutation(np.repeat(drawn, self.windows_per_case))
        return [self.cases[i] for i in order]

    def batch(self, *, epoch: int, iteration: int, batch_size: int) -> list[str]:
        """Return the cases of one batch; a last batch that the windows do not fill goes on with the first ones."""
        windows = self.windows(epoch)
        first = iteration * batch_size
        return [windows[i % len(windows)] for i in range(first, first + batch_size)]


@dataclass(frozen=True, kw_only=True)
class BatchSchedule:
    """The batches that one process of a training has to produce, counted from its first epoch."""

    subsets: EpochSubsets
    first_epoch: int
    iterations_per_epoch: int
    global_batch_size: int
    share: slice
    """The part of each global batch that this GPU takes (DDP): every n-th sample, all of them on one device."""

    def cases(self, number: int) -> list[str]:
        """Return the cases of batch `number` = 0, 1, 2, ... since the start of this run."""
        epoch, iteration = divmod(number, self.iterations_per_epoch)
        batch = self.subsets.batch(
            epoch=self.first_epoch + epoch, iteration=iteration, batch_size=self.global_batch_size
        )
        return batch[self.share]


class ScheduledDataLoader(nnUNetDataLoader):
    """nnU-Net's loader, its cases taken from a schedule instead of drawn."""

    schedule: BatchSchedule
    workers: int
    _made: int

    @classmethod
    def like(
        cls, loader: nnUNetDataLoader, *, label_manager: LabelManager, schedule: BatchSchedule, workers: int
    ) -> ScheduledDataLoader:
        """Return a loader with the data, windows and transforms of nnU-Net's `loader`; `workers` share the batches."""
        spatial = slice(1, None) if loader.patch_size_was_2d else slice(None)
        scheduled = cls(
            loader._data,
            loader.batch_size,
            loader.patch_size[spatial],
            loader.final_patch_size[spatial],
            label_manager,
            oversample_foreground_percent=loader.oversample_foreground_percent,
            transforms=loader.transforms,
        )
        scheduled.schedule, scheduled.workers, scheduled._made = schedule, max(1, workers), 0
        return scheduled

    def get_indices(self) -> list[str]:
        """Return the cases of the next batch of this worker."""
        number = self.thread_id + self._made * self.workers
        self._made += 1
        return self.schedule.cases(number)


def stock_loader(generator: Any) -> nnUNetDataLoader:  # noqa: ANN401  (one of batchgenerators' augmenters)
    """Stop the augmenter that nnU-Net made and return the loader inside it."""
    if isinstance(generator, SingleThreadedAugmenter):
        return generator.data_loader
    generator._finish()
    return generator.generator


def in_order(loader: ScheduledDataLoader, *, workers: int, pin_memory: bool) -> Any:  # noqa: ANN401
    """Return an augmenter that yields the batches of `loader` in the order of its schedule."""
    if workers == 0:
        return SingleThreadedAugmenter(loader, None)
    return MultiThreadedAugmenter(
        loader, None, workers, num_cached_per_queue=2, seeds=None, pin_memory=pin_memory, wait_time=0.002
    )
