"""Work spread over processes: order, errors, a worker that is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nnunet_spine_ext.data.parallel import default_processes, in_parallel
from nnunet_spine_ext.errors import DataError, SpineExtError


def square(number: int) -> int:
    return number * number


def process_id(_: int) -> int:
    return os.getpid()


def refuse_three(number: int) -> int:
    if number == 3:
        raise DataError.of(Path("file"), "is three", "Use another.")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_items(processes: int) -> None:
    assert in_parallel(square, range(6), processes=processes, description="Squares") == [0, 1, 4, 9, 16, 25]


def test_nothing_to_do() -> None:
    assert in_parallel(square, [], processes=2, description="Nothing") == []


def test_one_process_means_this_one_and_two_mean_others() -> None:
    assert set(in_parallel(process_id, [0, 1], processes=1, description="Here")) == {os.getpid()}
    assert os.getpid() not in in_parallel(process_id, [0, 1], processes=2, description="There")


def test_errors_of_a_worker_arrive_with_their_findings() -> None:
    with pytest.raises(DataError, match=r"file: is three\. Use another."):
        in_parallel(refuse_three, range(6), processes=2, description="Refused")


def test_a_killed_worker_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(SpineExtError, match=r"a worker process was killed\. Probably the memory ran out"):
        in_parallel(die_at_three, range(6), processes=2, description="Killed")


def test_default_leaves_room_for_others() -> None:
    assert 1 <= default_processes() <= 4
