"""Counts and tables that the benchmarks share."""

from __future__ import annotations

from measuring import in_turns, median_and_range, table


def test_ways_take_turns() -> None:
    calls: list[str] = []
    seconds = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_middle_and_range_of_seconds() -> None:
    assert median_and_range([3.0, 1.0, 2.0]) == "2.000 (1.000 to 3.000)"


def test_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
