"""What providers of per-token APIs ask, from a dated list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from predictor.architectures.architecture import Architecture
from predictor.facts import FactRow, datasets_dir, read_facts
from predictor.workloads.spec import ModelSource

COLUMNS = (
    "provider", "model_key", "model", "input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok",
    "provider_hq", "price_date", "source",
)  # fmt: skip
SHIPPED = "api_token_prices_2026_11.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPrice:
    """One model of one provider, dollars per million tokens, exact."""

    provider: str
    model_key: str
    """As the provider's API names it."""
    model: str
    """The id of the same model in the catalogue."""
    input_usd: Decimal
    output_usd: Decimal
    cached_input_usd: Decimal | None
    """Of prompt tokens that the provider has in its cache; None where it grants no such price."""
    provider_hq: str | None
    price_date: str

    def request_usd(self, input_length: float, output_length: float, cached: float) -> Decimal:
        """What one request costs; cached tokens at the full price where there is no price for them."""
        read, written, kept = (Decimal(repr(tokens)) for tokens in (input_length, output_length, cached))
        again = self.input_usd if self.cached_input_usd is None else self.cached_input_usd
        return ((read - kept) * self.input_usd + kept * again + written * self.output_usd) / 1_000_000


def read_api_prices(path: Path | None = None) -> list[ApiPrice]:
    """The rows of a list, by default the one that ships; InvalidFacts names the first bad line."""
    rows = read_facts(path or datasets_dir() / SHIPPED, COLUMNS, key=("provider", "model_key"))
    return [_price(row) for row in rows]


def _price(row: FactRow) -> ApiPrice:
    price = ApiPrice(
        provider=row.text("provider"),
        model_key=row.text("model_key"),
        model=row.text("model"),
        input_usd=row.money("input_usd_per_mtok"),
        output_usd=row.money("output_usd_per_mtok"),
        cached_input_usd=row.optional_money("cached_input_usd_per_mtok"),
        provider_hq=row.optional_text("provider_hq"),
        price_date=row.day("price_date").isoformat(),
    )
    row.text("source")
    if price.cached_input_usd is not None and price.cached_input_usd > price.input_usd:
        raise row.refuse("cached_input_usd_per_mtok is above input_usd_per_mtok")
    return price


def of_model(prices: list[ApiPrice], architecture: Architecture, models: ModelSource) -> list[ApiPrice]:
    """Those of one model; tuned to follow instructions or not, it costs the same to serve."""
    wanted = _plain(architecture.id)
    return [price for price in prices if _plain(models.get(price.model).id) == wanted]


def _plain(model: str) -> str:
    return re.sub(r"-(instruct|base|chat|it)(?=-|$)", "", model.casefold())
