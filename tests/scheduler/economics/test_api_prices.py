"""Lists of prices per token: what refuses one, and what is only doubted."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.errors import InvalidFacts
from scheduler.economics.api_price_list import JUMP, doubts
from scheduler.economics.api_prices import COLUMNS, MOST_PRICES, of_model, read_api_prices
from tests.scheduler.economics.test_crossover import api

ROW: dict[str, Any] = {
    "provider": "acme", "model_key": "k", "model": "Qwen/Qwen2.5-7B", "input_usd_per_mtok": 0.1,
    "output_usd_per_mtok": 0.3, "cached_input_usd_per_mtok": None, "price_date": "2026-11-01", "source": "contract",
}  # fmt: skip


def lines(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "prices.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def test_json_lines_keep_their_digits(tmp_path: Path) -> None:
    (price,) = read_api_prices(lines(tmp_path, ROW))
    assert (price.input_usd, price.output_usd, price.cached_input_usd) == (Decimal("0.1"), Decimal("0.3"), None)
    assert (price.provider_hq, price.price_date) == (None, "2026-11-01")


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    table.write_text(",".join(COLUMNS) + "\nacme,k,Qwen/Qwen2.5-7B,0.1,0.3,,,2026-11-01,contract\n")
    assert read_api_prices(table) == read_api_prices(lines(tmp_path, ROW))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_usd_per_mtok": 0}, "line 2.*above zero"),
        ({"output_usd_per_mtok": -1}, "line 2.*above zero"),
        ({"output_usd_per_mtok": 10_001}, "line 2.*above \\$10,000"),
        ({"output_usd_per_mtok": "1e400"}, "line 2.*above \\$10,000"),
        ({"input_usd_per_mtok": "NaN"}, "line 2.*input_usd_per_mtok"),
        ({"cached_input_usd_per_mtok": 0.2}, "line 2.*cached_input_usd_per_mtok is above"),
        ({"price_date": "soon"}, "line 2.*not a date"),
        ({"price_date": None}, "line 2.*price_date is null"),
        ({"provider": ["acme"]}, "line 2.*provider is neither"),
        ({"colour": "red"}, "line 2.*colour"),
        ({"model_key": "one"}, "line 2.*repeats line 1"),
    ],
)
def test_what_cannot_be_true_refuses_the_list_with_its_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidFacts, match=said):
        read_api_prices(lines(tmp_path, ROW | {"model_key": "one"}, ROW | {"model_key": "other"} | change))


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "3", '{"provider": NaN}', "\x00"])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidFacts, match="line 1"):
        read_api_prices(lines(tmp_path, text))


def test_an_empty_list_and_one_that_is_too_long_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFacts, match="no price"):
        read_api_prices(lines(tmp_path, ""))
    rows = [ROW | {"model_key": str(place)} for place in range(MOST_PRICES + 1)]
    with pytest.raises(InvalidFacts, match=f"line {MOST_PRICES + 1}"):
        read_api_prices(lines(tmp_path, *rows))


def test_a_model_nobody_knows_may_stand_in_a_list(tmp_path: Path) -> None:
    prices, models = (
        read_api_prices(lines(tmp_path, ROW | {"model": "secret/model", "model_key": "s"}, ROW)),
        load_models(),
    )
    assert [one.model_key for one in of_model(prices, models.get("Qwen/Qwen2.5-7B"), models)] == ["k"]


def doubted(usd: str, shipped_usd: str, **changes: Any) -> list[str]:
    models = load_models()
    return list(doubts([api(usd, "1.50")], [api(shipped_usd, "1.50")], models))


def test_a_tenfold_jump_is_doubted_and_less_is_not() -> None:
    assert doubted("5.00", "0.50")[0].startswith("acme acme/qwen: $5.00 per million input tokens is 10 times")
    assert "a 10th of" in doubted("0.05", "0.50")[0]
    assert doubted("4.99", "0.50") == []


@given(st.decimals("0.01", "100", places=2), st.decimals("0.01", "100", places=2))
def test_doubt_is_a_matter_of_the_factor_alone(usd: Decimal, shipped: Decimal) -> None:
    assert bool(doubted(str(usd), str(shipped))) == (max(usd, shipped) >= JUMP * min(usd, shipped))


def test_the_list_that_ships_is_not_doubted_against_itself() -> None:
    prices = read_api_prices()
    assert list(doubts(prices, prices, load_models())) == []
