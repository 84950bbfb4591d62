"""Read a price list of our own format: who sells which GPU type where, at what price per GPU-hour.

What a price list does not say (capacity above all) comes from the table of providers beside it and is named in
each offer's `assumed`. A line that cannot be true is refused with its number, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from uuid import UUID

from predictor.errors import InvalidFacts, UnknownGpuType
from predictor.facts import FactRow, read_facts
from predictor.hardware import GpuCatalogue
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.habits import Habits, read_habits
from scheduler.domain.money import usd_to_micros
from scheduler.domain.offers import Offer
from scheduler.domain.price_line import ONE_MACHINE, PriceLine, offer_of

__all__ = ["MOST_NODE_GPUS", "PRICE_COLUMNS", "day_of", "micros_of", "read_habits", "read_lines", "read_prices"]

PRICE_COLUMNS = (
    "provider", "region", "country", "jurisdiction", "provider_hq", "instance_type", "gpu_type", "node_gpus",
    "on_demand_usd_per_gpu_hour", "spot_usd_per_gpu_hour", "price_date", "source", "sold_gpus",
)  # fmt: skip
EGRESS_COLUMN = "egress_usd_per_gib"
"""May stand in a list, empty where it is not known."""
HIGHEST_EGRESS_USD_PER_GIB = 10
HIGHEST_USD_PER_GPU_HOUR = 1000
"""No GPU has been let for a tenth of this; a price above it is a slip, in units or in the decimal point."""
MOST_NODE_GPUS = 1024


def read_prices(
    path: Path, habits: Mapping[str, Habits], gpus: GpuCatalogue, *, backend: str, new_id: Callable[[], UUID]
) -> list[Offer]:
    """The offers of a price list, all for one execution backend; InvalidOffer at the first line that cannot be true."""
    return [offer_of(line, habits, backend=backend, offer_id=new_id()) for line in read_lines(path, gpus)]


def read_lines(path: Path, gpus: GpuCatalogue, latest: date = date.max) -> list[PriceLine]:
    """The lines of a price list, none of them of a later day; InvalidOffer at the first that cannot be true."""
    try:
        rows = read_facts(path, _columns(path), key=("provider", "region", "instance_type", "gpu_type"))
        return [_line(row, gpus, latest) for row in rows]
    except InvalidFacts as error:
        raise InvalidOffer(str(error)) from None


def _columns(path: Path) -> tuple[str, ...]:
    """Those that the list must have, and the one that it may have if it does."""
    if not path.is_file():
        return PRICE_COLUMNS
    with path.open("rb") as stream:
        stated = EGRESS_COLUMN.encode() in stream.readline(10_000)
    return (*PRICE_COLUMNS, EGRESS_COLUMN) if stated else PRICE_COLUMNS


def _line(row: FactRow, gpus: GpuCatalogue, latest: date) -> PriceLine:
    gpu_type = row.text("gpu_type")
    try:
        sliced = any(gpu.slice_of for gpu in gpus.variants(gpu_type))
    except UnknownGpuType as error:
        raise row.refuse(str(error)) from None
    node_gpus = row.integer("node_gpus", minimum=1, maximum=MOST_NODE_GPUS)
    if sliced and node_gpus > 1:
        raise row.refuse(f"node_gpus is {node_gpus}, but {gpu_type} is a part of one GPU")
    on_demand, spot = _price(row, "on_demand_usd_per_gpu_hour"), _price(row, "spot_usd_per_gpu_hour")
    if on_demand is None and spot is None:
        raise row.refuse("has neither an on-demand nor a spot price")
    return PriceLine(
        provider=row.text("provider"),
        region=row.values["region"],
        country=row.optional_text("country"),
        jurisdiction=row.optional_text("jurisdiction"),
        provider_hq=row.optional_text("provider_hq"),
        instance_type=row.text("instance_type"),
        gpu_type=gpu_type,
        node_gpus=node_gpus,
        sold_gpus=_sold(row, node_gpus),
        on_demand_micros=on_demand,
        spot_micros=spot,
        price_date=day_of(row, "price_date", row.day("price_date"), latest),
        source=row.text("source"),
        egress_micros_per_gib=_egress(row),
        max_nodes=ONE_MACHINE if sliced else None,
    )


def _egress(row: FactRow) -> int | None:
    raw = row.values.get(EGRESS_COLUMN, "")
    if not raw:
        return None
    try:
        usd = Decimal(raw)
    except InvalidOperation:
        usd = Decimal("NaN")
    if not (usd.is_finite() and 0 <= usd <= HIGHEST_EGRESS_USD_PER_GIB):
        raise row.refuse(f"{EGRESS_COLUMN} is {raw!r}, not dollars from 0 to {HIGHEST_EGRESS_USD_PER_GIB}")
    return usd_to_micros(usd)


def _price(row: FactRow, column: str) -> int | None:
    usd = row.optional_money(column)
    return None if usd is None else micros_of(row, column, usd)


def micros_of(row: FactRow, column: str, usd: Decimal) -> int:
    """Micro-dollars of a price per GPU-hour; a line that asks too much to be true, or next to nothing, is refused."""
    if usd > HIGHEST_USD_PER_GPU_HOUR:
        raise row.refuse(f"{column} is {usd:.6g}, above ${HIGHEST_USD_PER_GPU_HOUR} per GPU-hour")
    micros = usd_to_micros(usd)
    if not micros:  # it would be the cheapest of all
        raise row.refuse(f"{column} is {usd:.6g}, less than a millionth of a dollar per GPU-hour")
    return micros


def day_of(row: FactRow, column: str, day: date, latest: date) -> str:
    """A price's day; one that has not come is refused, since no list would ever be newer."""
    if day > latest:
        raise row.refuse(f"{column} is {day}, a day that has not come")
    return day.isoformat()


def _sold(row: FactRow, node_gpus: int) -> tuple[int, ...]:
    raw = row.text("sold_gpus")
    try:
        counts = sorted({int(part) for part in raw.split("|")})
    except ValueError:
        raise row.refuse(f"sold_gpus is {raw!r}, not counts such as 1|2|4|8") from None
    if counts[0] < 1 or counts[-1] > node_gpus:
        raise row.refuse(f"sold_gpus is {raw}, but the machine has {node_gpus} GPUs")
    return tuple(counts)
