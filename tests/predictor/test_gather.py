"""Rows and objects that are equal are read once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from predictor.gather import distinct, distinct_rows, select

# few values, so that rows meet; among them two whose weighted sums a double cannot tell apart
CELLS = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2.0**-52, 2.5, -3.0, 1e6])


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=CELLS))
def test_equal_rows_are_one_kind_and_others_are_not(rows: np.ndarray) -> None:
    kinds = distinct_rows(rows)

    np.testing.assert_array_equal(rows[kinds.first][kinds.place], rows)
    assert len(kinds.first) == len(np.unique(rows.view(np.uint64), axis=0)) or len(kinds.first) == len(
        np.unique(rows, axis=0)
    )


def test_a_part_that_several_objects_share_is_read_once() -> None:
    shared = object()
    wholes = [(shared, number) for number in range(3)]

    parts = distinct([wholes[0], wholes[2], wholes[0], wholes[1]]).each(lambda whole: whole[0])

    assert parts.objects == [shared]
    assert parts.place.tolist() == [0, 0, 0, 0]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_the_first_condition_that_holds_selects(rows: list[tuple[bool, bool]]) -> None:
    conditions = [np.array(flags) for flags in zip(*rows, strict=True)]
    numbers = np.arange(len(rows), dtype=np.float64)

    expected = np.select(conditions, [numbers, -1.0], numbers + 0.5)
    np.testing.assert_array_equal(select(conditions, [numbers, -1.0], numbers + 0.5), expected, strict=True)


def test_equal_objects_are_one_only_if_they_are_the_same() -> None:
    one, other = [1], [1]

    assert distinct([one, one]).objects == [one]
    assert distinct([one, one]).place.tolist() == [0, 0]
    assert distinct([one, other, one]).place.tolist() == [0, 1, 0]
