"""nnU-Net's listing and preprocessing of new images ahead of the network, in this process and its threads.

nnU-Net starts a process for each worker, which imports torch and nnU-Net anew and sends every image through a pipe.
The work itself is numpy's, scipy's and SimpleITK's, which let other threads run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Event
from typing import Any

from nnunetv2.inference.data_iterators import preprocess_fromfiles_save_to_queue
from nnunetv2.utilities.utils import create_paths_fn, get_identifiers_from_splitted_dataset_folder

Case = dict[str, Any]
"""What nnU-Net makes of an image: `data`, `data_properties`, `ofile`."""


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """One worker, which has every n-th case, and the one case that waits behind it."""

    waiting: Queue[Case] = field(default_factory=lambda: Queue(maxsize=1))
    done: Event = field(default_factory=Event)


def listed_cases(folder: str, file_ending: str) -> list[list[str]]:
    """Return the files of each case's channels, as nnU-Net lists them; it starts twelve processes for that."""
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_file() and path.name.endswith(file_ending))
    identifiers = get_identifiers_from_splitted_dataset_folder(folder, file_ending)
    return [create_paths_fn(folder, names, file_ending, case) for case in identifiers]


def preprocessed_cases(
    files: Sequence[Any],
    previous_stage: Sequence[Any],
    targets: Sequence[Any],
    *,
    plans: Any,  # noqa: ANN401
    dataset_json: dict[str, Any],
    configuration: Any,  # noqa: ANN401
    threads: int,
    verbose: bool = False,
) -> Iterator[Case]:
    """Yield the cases in order, preprocessed by nnU-Net's own worker.

    Args:
        files: for each case the files of its channels.
        previous_stage: for each case the label map of a cascade's stage before, or None.
        targets: for each case its output file without ending.
        plans: nnU-Net's PlansManager.
        dataset_json: of the model.
        configuration: nnU-Net's ConfigurationManager.
        threads: at least 1 is used, and no more than there are cases.
        verbose: as nnU-Net's.
    """
    count = max(1, min(threads, len(files)))
    abort = Event()
    lanes = [_Lane() for _ in range(count)]
    with ThreadPoolExecutor(count, thread_name_prefix="preprocessing") as pool:
        workers = [
            pool.submit(
                preprocess_fromfiles_save_to_queue,
                list(files[i::count]),
                list(previous_stage[i::count]),
                list(targets[i::count]),
                plans,
                dataset_json,
                configuration,
                lane.waiting,
                lane.done,
                abort,
                verbose,
            )
            for i, lane in enumerate(lanes)
        ]
        try:
            for number in range(len(files)):
                yield _next(lanes[number % count], workers[number % count], workers)
        finally:
            abort.set()  # a worker that waits for its place in the queue gives up


def _next(lane: _Lane, worker: Future[None], workers: Sequence[Future[None]]) -> Case:
    while True:
        ended = worker.done()  # asked first: what it put before it ended is in the queue now
        try:
            return lane.waiting.get(timeout=0 if ended else 0.1)
        except Empty:
            if ended:
                for each in workers:  # raises what one of them raised: the others gave up with it
                    each.result()
                raise RuntimeError("nnU-Net's preprocessing ended before its last case") from None
