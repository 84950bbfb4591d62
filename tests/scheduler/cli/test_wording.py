"""Figures read well and never flatter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.cli import wording


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "-"), (float("inf"), "-"), (0.0, "0.0s"), (2.44, "2.4s"), (45, "45s"), (90, "1m30"), (750, "12m30"),
        (3599.8, "1h00"), (11400, "3h10"), (37800, "10h30"), (172800, "2d00h"), (1e6, "11d14h"),
    ],
)  # fmt: skip
def test_duration_takes_at_most_two_units(seconds: float | None, written: str) -> None:
    assert wording.duration(seconds) == written


@given(st.floats(0, 1))
def test_probability_is_never_rounded_up(value: float) -> None:
    assert float(wording.probability(value)) <= value + 1e-9


@pytest.mark.parametrize(
    ("dollars", "written"),
    [("10.4", "10.40"), ("0.0123", "0.0123"), ("0", "0.00"), ("1234.5", "1,234.50"), (None, "-")],
)
def test_usd_shows_cents_and_more_where_cents_would_say_nothing(dollars: str | None, written: str) -> None:
    assert wording.usd(dollars) == written


def test_columns_align_under_their_header() -> None:
    lines = wording.columns(("A", "LONG"), [("wide cell", "1"), ("x", "22")], right=(1,))
    assert lines == ["A          LONG", "wide cell     1", "x            22"]
