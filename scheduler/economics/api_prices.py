"""What providers of per-token APIs ask, from a dated list: the one that ships, or one's own in its form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from predictor.architectures.architecture import Architecture
from predictor.errors import InvalidFacts, UnknownModel
from predictor.facts import FactRow, datasets_dir, read_facts
from predictor.workloads.spec import ModelSource

COLUMNS = (
    "provider", "model_key", "model", "input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok",
    "provider_hq", "price_date", "source",
)  # fmt: skip
MAY_BE_EMPTY = ("cached_input_usd_per_mtok", "provider_hq")
KEY = ("provider", "model_key")
SHIPPED = "api_token_prices_2026_11.csv"
HIGHEST_USD_PER_MTOK = 10_000
"""No list has a tenth of this; a price above it is a slip, in units or in the decimal point."""
MOST_PRICES = 2_000
"""Of one list: as many as a request to a server holds."""


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
    """The rows of a list, CSV or JSON Lines, by default the one that ships; InvalidFacts names the first bad line."""
    path = path or datasets_dir() / SHIPPED
    rows = _of_json(path) if path.suffix in (".jsonl", ".ndjson") else read_facts(path, COLUMNS, key=KEY)
    found: list[ApiPrice] = []
    for row in rows:
        if len(found) == MOST_PRICES:
            raise row.refuse(f"more than {MOST_PRICES:,} prices; leave out the models that are not asked about")
        found.append(_price(row))
    if not found:
        raise InvalidFacts(f"{path.name} holds no price")
    return found


def _price(row: FactRow) -> ApiPrice:
    price = ApiPrice(
        provider=row.text("provider"),
        model_key=row.text("model_key"),
        model=row.text("model"),
        input_usd=_money(row, "input_usd_per_mtok"),
        output_usd=_money(row, "output_usd_per_mtok"),
        cached_input_usd=_money(row, "cached_input_usd_per_mtok") if row.values["cached_input_usd_per_mtok"] else None,
        provider_hq=row.optional_text("provider_hq"),
        price_date=row.day("price_date").isoformat(),
    )
    row.text("source")
    if price.cached_input_usd is not None and price.cached_input_usd > price.input_usd:
        raise row.refuse("cached_input_usd_per_mtok is above input_usd_per_mtok")
    return price


def _money(row: FactRow, column: str) -> Decimal:
    usd = row.money(column)
    if usd > HIGHEST_USD_PER_MTOK:
        raise row.refuse(f"{column} is {row.values[column]}, above ${HIGHEST_USD_PER_MTOK:,} per million tokens")
    return usd


def _of_json(path: Path) -> Iterator[FactRow]:
    """Rows of JSON Lines; numbers keep their digits."""
    if not path.is_file():
        raise InvalidFacts(f"{path} does not exist")
    seen: dict[tuple[str, ...], int] = {}
    with path.open("rb") as stream:
        for line, raw in enumerate(stream, start=1):
            try:
                cells = json.loads(raw.decode("utf-8-sig"), parse_float=str, parse_int=str) if raw.strip() else None
            except (ValueError, RecursionError):
                raise InvalidFacts(f"{path.name} line {line}: not a line of JSON") from None
            if cells is None:
                continue
            row = FactRow(path.name, line, _cells(path.name, line, cells))
            identity = tuple(row.values[column].casefold() for column in KEY)
            if identity in seen:
                raise row.refuse(f"repeats line {seen[identity]} ({', '.join(KEY)}: {', '.join(identity)})")
            seen[identity] = line
            yield row


def _cells(file: str, line: int, cells: Any) -> dict[str, str]:
    if not isinstance(cells, dict):
        raise InvalidFacts(f"{file} line {line}: not a JSON object")
    unknown = [name for name in cells if name not in COLUMNS]
    if unknown:
        raise InvalidFacts(f"{file} line {line}: {unknown[0][:40]} is not expected")
    found = {}
    for column in COLUMNS:
        value = cells.get(column)
        if value is None:
            if column in cells and column not in MAY_BE_EMPTY:
                raise InvalidFacts(f"{file} line {line}: {column} is null")
            value = ""
        if not isinstance(value, str):
            raise InvalidFacts(f"{file} line {line}: {column} is neither text nor a number")
        found[column] = value.strip()
    return found


def of_model(prices: Sequence[ApiPrice], architecture: Architecture, models: ModelSource) -> list[ApiPrice]:
    """Those of one model; tuned to follow instructions or not, it costs the same to serve."""
    wanted = plain_name(architecture.id)
    names = {name: served_name(name, models) for name in {price.model for price in prices}}
    return [price for price in prices if names[price.model] == wanted]


def served_name(model: str, models: ModelSource) -> str:
    """What all names of models that cost the same to serve have in common; a model nobody knows is its own."""
    try:
        return plain_name(models.get(model).id)
    except UnknownModel:
        return plain_name(model)


def plain_name(model: str) -> str:
    """Without what says how it was tuned to follow instructions."""
    return re.sub(r"-(instruct|base|chat|it)(?=-|$)", "", model.casefold())
