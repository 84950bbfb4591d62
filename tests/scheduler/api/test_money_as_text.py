"""Money leaves as decimal text, exact and with at least cents."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.money import exact_usd


@given(st.integers(-(10**15), 10**15))
def test_the_text_is_exactly_the_amount(micros: int) -> None:
    text = exact_usd(micros)
    assert text is not None
    assert Decimal(text) * 1_000_000 == micros


@pytest.mark.parametrize(
    ("micros", "text"),
    [(None, None), (0, "0.00"), (1_000_000, "1.00"), (1_500_000, "1.50"), (1, "0.000001"), (-2_030_400, "-2.0304")],
)
def test_at_least_cents_and_no_trailing_zeros(micros: int | None, text: str | None) -> None:
    assert exact_usd(micros) == text
