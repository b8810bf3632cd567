"""The largest batch against trying them all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nnunet_spine_ext.planning.batch import largest_batch


@given(
    fixed=st.integers(0, 1000),
    floor=st.integers(0, 3000),
    each=st.integers(1, 200),
    bend=st.integers(0, 3),
    target=st.integers(1, 5000),
    smallest=st.integers(1, 3),
    largest=st.integers(1, 60),
)
def test_equals_trying_every_size(
    fixed: int, floor: int, each: int, bend: int, target: int, smallest: int, largest: int
) -> None:
    def bytes_of(batch: int) -> int:
        return max(floor, fixed + each * batch + bend * batch**2)  # rising, with a plateau where weights decide

    fitting = [b for b in range(smallest, largest + 1) if bytes_of(b) <= target]
    found = largest_batch(bytes_of, target_bytes=target, smallest=smallest, largest=largest)
    assert found == (fitting[-1] if fitting else smallest)


def test_few_counts_suffice_where_memory_grows_evenly() -> None:
    asked = []

    def bytes_of(batch: int) -> int:
        asked.append(batch)
        return 500 + 7 * batch

    assert largest_batch(bytes_of, target_bytes=1000, smallest=2, largest=10_000) == 71
    assert set(asked) == {2, 3, 71, 72}
