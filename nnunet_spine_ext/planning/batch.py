"""The largest batch whose training step fits the target."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def largest_batch(bytes_of: Callable[[int], int], *, target_bytes: float, smallest: int, largest: int) -> int:
    """Return the largest batch size in `smallest` … `largest` that needs at most `target_bytes`.

    Memory grows with each sample by the same amount (where samples and not weights decide the peak), so two counts say
    where to look; the answer itself and its successor are always counted. `smallest` is returned even if it needs more.
    """
    if largest <= smallest or bytes_of(smallest + 1) > target_bytes:
        return smallest
    fits, too_large = smallest + 1, largest + 1
    for probe in _probes(bytes_of, target_bytes=target_bytes, smallest=smallest):
        if too_large - fits <= 1:
            break
        batch = (fits + too_large) // 2 if probe is None else min(max(probe, fits + 1), too_large - 1)
        if bytes_of(batch) <= target_bytes:
            fits = batch
        else:
            too_large = batch
    return fits


def _probes(bytes_of: Callable[[int], int], *, target_bytes: float, smallest: int) -> Iterator[int | None]:
    """Yield the extrapolated answer, its successor, then `None` for ever (halve)."""
    first = bytes_of(smallest)
    each = max(bytes_of(smallest + 1) - first, 1)
    guess = smallest + int((target_bytes - first) // each)
    yield guess
    yield guess + 1
    while True:
        yield None
