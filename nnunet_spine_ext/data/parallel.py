"""Runs one function over many cases in worker processes, with a progress bar.

Workers end with their parent: a watchdog thread waits for the parent's death, so a killed conversion leaves no process
behind that still writes. Memory is bounded by the cases in flight, one per worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from nnunet_spine_ext.data.locks import share
from nnunet_spine_ext.errors import SpineExtError

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_processes() -> int:
    """Return a worker count that suits most machines: the processors this process may use, at most 4."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, usable or 1)


def in_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    processes: int,
    description: str,
    in_use: Path | None = None,
) -> list[Result]:
    """Return `[function(item) for item in items]`.

    Args:
        function: at module level, so that workers can import it.
        items: what it is called with; picklable.
        processes: how many workers; 1 works in this process.
        description: left of the progress bar.
        in_use: folder on which every worker holds a shared lock for as long as it lives.

    Raises:
        SpineExtError: a worker was killed; whatever `function` raises comes through as it is.
    """
    if min(processes, len(items)) <= 1:
        return [function(item) for item in tqdm(items, desc=description)]
    executor = ProcessPoolExecutor(
        max_workers=min(processes, len(items)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(in_use,),
    )
    try:
        futures = [executor.submit(function, item) for item in items]
        _wait(futures, description)
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        remedy = "Probably the memory ran out: use fewer processes (-np) and run the command again."
        raise SpineExtError(f"{description}: a worker process was killed. {remedy}") from error
    finally:
        executor.shutdown(cancel_futures=True)


def _wait(futures: Sequence[Future[Result]], description: str) -> None:
    """Show progress until all are done; stop at the first failure."""
    with tqdm(total=len(futures), desc=description) as bar:
        for future in as_completed(futures):
            future.result()
            bar.update()


def _start_worker(in_use: Path | None) -> None:
    """Leave Ctrl-C to the parent, die with it, use one thread, hold the lock."""
    import SimpleITK as sitk

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if in_use is not None:
        share(in_use)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
