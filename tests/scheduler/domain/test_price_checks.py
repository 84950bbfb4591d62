"""A price that cannot be true is doubted, one that merely moved is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.facts import datasets_dir
from predictor.hardware import load_gpu_types
from scheduler.domain.price_checks import Ask, Bands, Doubt, doubt
from scheduler.domain.price_file import read_lines

GPUS = load_gpu_types()
SHIPPED = read_lines(datasets_dir() / "prices_2026_08.csv", GPUS)
BANDS = Bands(((line.gpu_type, Ask(line.on_demand_micros, line.spot_micros)) for line in SHIPPED), GPUS)
CENT, USD = 10_000, 1_000_000


def test_no_shipped_price_is_doubted() -> None:
    asked = [(line.gpu_type, Ask(line.on_demand_micros, line.spot_micros)) for line in SHIPPED]
    assert [gpu_type for gpu_type, ask in asked if doubt(gpu_type, ask, ask, BANDS)] == []


@pytest.mark.parametrize(
    ("ask", "last", "why"),
    [
        (Ask(1 * CENT, None), None, Doubt.BELOW_BAND),
        (Ask(None, 1 * CENT), None, Doubt.BELOW_BAND),
        (Ask(100 * USD, None), None, Doubt.ABOVE_BAND),
        (Ask(30 * USD, None), Ask(3 * USD, None), Doubt.ROSE),
        (Ask(3 * USD, None), Ask(30 * USD, None), Doubt.FELL),
        (Ask(3 * USD, 20 * USD), Ask(3 * USD, 2 * USD), Doubt.ROSE),
    ],
)
def test_an_absurd_price_is_doubted_with_the_reason(ask: Ask, last: Ask | None, why: Doubt) -> None:
    suspicion = doubt("H100-SXM", ask, last, BANDS)
    assert suspicion is not None
    assert suspicion.doubt is why
    assert suspicion.factor > 3
    assert "$" in suspicion.text


@pytest.mark.parametrize(
    ("ask", "last"),
    [
        (Ask(3 * USD, None), None),
        (Ask(4_530_000, None), Ask(3 * USD, None)),  # the rise of 51 % that one provider made
        (Ask(3 * USD, 2 * USD), Ask(3 * USD, None)),
        (Ask(0, None), Ask(0, None)),  # the host's own
    ],
)
def test_a_price_that_moved_is_believed(ask: Ask, last: Ask | None) -> None:
    assert doubt("H100-SXM", ask, last, BANDS) is None


def test_a_variant_and_its_bare_name_know_each_others_prices() -> None:
    bands = Bands([("H100", Ask(2 * USD, None))], GPUS)
    assert bands.of("H100-SXM") == bands.of("H100") == bands.of("H100-PCIe")
    assert bands.of("T4") == bands.of("H100")  # nobody sold one: whatever cards cost
    assert Bands([], GPUS).of("T4") is None


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_tenfold_and_a_tenth_of_the_last_price_are_never_believed(price: int, times: int) -> None:
    factor = 10 + times % 90
    assert doubt("H100-SXM", Ask(price * factor, None), Ask(price, None), BANDS) is not None
    assert doubt("H100-SXM", Ask(price, None), Ask(price * factor, None), BANDS) is not None
    assert doubt("H100-SXM", Ask(None, price * factor), Ask(None, price), BANDS) is not None
