"""Values made many at once are those that the class itself makes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from itertools import repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.forecast import Spread
from predictor.scatter import Cells, maker

make_spreads = maker(Spread)


@given(st.lists(st.tuples(*[st.floats(allow_nan=False)] * 3)))
def test_many_at_once_equal_those_made_one_by_one(rows: list[tuple[float, float, float]]) -> None:
    p10, p50, p90 = zip(*rows, strict=True) if rows else ((), (), ())

    many = make_spreads(p90=p90, p10=p10, p50=p50)

    assert many == [Spread(p10=row[0], p50=row[1], p90=row[2]) for row in rows]
    assert {*map(hash, many)} == {hash(Spread(p10=row[0], p50=row[1], p90=row[2])) for row in rows}


def test_they_are_as_frozen_and_as_easily_replaced() -> None:
    (spread,) = make_spreads(p10=[1.0], p50=repeat(2.0), p90=repeat(3.0))

    assert type(spread) is Spread
    assert replace(spread, p90=4.0) == Spread(p10=1.0, p50=2.0, p90=4.0)
    with pytest.raises(FrozenInstanceError):
        spread.p10 = 0.0  # type: ignore[misc]


@pytest.mark.parametrize("names", ["p10 p50", "p10 p50 p95", "p10 p50 p90 p95"])
def test_a_field_that_is_missing_or_unknown_is_refused(names: str) -> None:
    with pytest.raises(TypeError, match="p10, p50, p90"):
        make_spreads(**{name: [1.0] for name in names.split()})


def test_a_row_of_cells_is_a_mapping_of_plain_numbers() -> None:
    cells = Cells({"compute_s": np.array([1.0, 2.0]), "memory_s": np.array([3.0, 4.0])}, 1)

    assert cells == {"compute_s": 2.0, "memory_s": 4.0}
    assert type(cells["compute_s"]) is float
    assert "bubble_s" not in cells
    with pytest.raises(KeyError):
        cells["bubble_s"]
