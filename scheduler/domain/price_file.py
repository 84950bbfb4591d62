"""Read a price list: who sells which GPU type where, at what price.

What a price list does not say (capacity above all) comes from the table of providers beside it and is named in
each offer's `assumed`. A line that cannot be true is refused with its number, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from predictor.errors import InvalidFacts, UnknownGpuType
from predictor.facts import FactRow, datasets_dir, read_facts
from predictor.hardware import GpuCatalogue
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.money import usd_to_micros
from scheduler.domain.offers import Offer, Tenancy

PRICE_COLUMNS = (
    "provider", "region", "country", "jurisdiction", "provider_hq", "instance_type", "gpu_type", "node_gpus",
    "on_demand_usd_per_gpu_hour", "spot_usd_per_gpu_hour", "price_date", "source", "sold_gpus",
)  # fmt: skip
PROVIDER_COLUMNS = (
    "provider", "hq_country", "billing_increment_s", "minimum_s", "provision_s", "capacity_gpus", "max_nodes",
    "interconnect_gbps", "tenancy", "basis", "note",
)  # fmt: skip
ANY_PROVIDER = "*"
HIGHEST_USD_PER_GPU_HOUR = 1000
"""No GPU has been let for a tenth of this; a price above it is a slip, in units or in the decimal point."""
MOST_NODE_GPUS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What a price list does not say of a provider."""

    hq_country: str | None
    billing_increment_s: int
    minimum_s: int
    provision_s: float
    capacity_gpus: int
    max_nodes: int
    interconnect_gbps: float | None
    tenancy: Tenancy
    assumed: bool


def read_habits(path: Path | None = None) -> dict[str, Habits]:
    """The table of providers, by default the one that ships; the row `*` speaks for all who are not in it."""
    try:
        rows = list(read_facts(path or datasets_dir() / "providers.csv", PROVIDER_COLUMNS, key=("provider",)))
        habits = {row.text("provider"): _habits(row) for row in rows}
    except InvalidFacts as error:
        raise InvalidOffer(str(error)) from None
    if ANY_PROVIDER not in habits:
        raise InvalidOffer(f"the table of providers has no row {ANY_PROVIDER!r} for those it does not name")
    return habits


def read_prices(
    path: Path, habits: dict[str, Habits], gpus: GpuCatalogue, *, backend: str, new_id: Callable[[], UUID]
) -> list[Offer]:
    """The offers of a price list, all for one execution backend; InvalidOffer at the first line that cannot be true."""
    try:
        rows = read_facts(path, PRICE_COLUMNS, key=("provider", "region", "instance_type", "gpu_type"))
        return [_offer(row, habits, gpus, backend, new_id()) for row in rows]
    except InvalidFacts as error:
        raise InvalidOffer(str(error)) from None


def _habits(row: FactRow) -> Habits:
    tenancy: Tenancy
    match row.choice("tenancy", ("shared", "dedicated", "unknown")):
        case "shared":
            tenancy = "shared"
        case "dedicated":
            tenancy = "dedicated"
        case _:
            tenancy = "unknown"
    return Habits(
        hq_country=row.optional_text("hq_country"),
        billing_increment_s=row.integer("billing_increment_s", minimum=1),
        minimum_s=row.integer("minimum_s"),
        provision_s=row.number("provision_s"),
        capacity_gpus=row.integer("capacity_gpus"),
        max_nodes=row.integer("max_nodes", minimum=1, maximum=10_000),
        interconnect_gbps=row.number("interconnect_gbps") or None,
        tenancy=tenancy,
        assumed=row.choice("basis", ("assumed", "stated")) == "assumed",
    )


_FROM_HABITS = (
    "billing_increment_s", "minimum_s", "provision_s", "capacity_gpus", "max_nodes", "interconnect_gbps", "tenancy",
)  # fmt: skip


def _offer(row: FactRow, habits: dict[str, Habits], gpus: GpuCatalogue, backend: str, offer_id: UUID) -> Offer:
    provider = row.text("provider")
    habit = habits.get(provider) or habits[ANY_PROVIDER]
    gpu_type = row.text("gpu_type")
    try:
        gpus.variants(gpu_type)
    except UnknownGpuType as error:
        raise row.refuse(str(error)) from None
    node_gpus = row.integer("node_gpus", minimum=1, maximum=MOST_NODE_GPUS)
    on_demand, spot = _price(row, "on_demand_usd_per_gpu_hour"), _price(row, "spot_usd_per_gpu_hour")
    if on_demand is None and spot is None:
        raise row.refuse("has neither an on-demand nor a spot price")
    return Offer(
        id=offer_id,
        provider=provider,
        region=row.values["region"],
        country=row.optional_text("country"),
        jurisdiction=row.optional_text("jurisdiction"),
        provider_hq=row.optional_text("provider_hq") or habit.hq_country,
        instance_type=row.text("instance_type"),
        gpu_type=gpu_type,
        node_gpus=node_gpus,
        sold_gpus=_sold(row, node_gpus),
        max_nodes=habit.max_nodes,
        # a provider of one machine at least has that machine
        capacity_gpus=max(habit.capacity_gpus, node_gpus) if habit.assumed else habit.capacity_gpus,
        on_demand_micros_per_gpu_hour=on_demand,
        spot_micros_per_gpu_hour=spot,
        price_date=row.day("price_date").isoformat(),
        billing_increment_s=habit.billing_increment_s,
        minimum_s=habit.minimum_s,
        provision_s=habit.provision_s,
        interconnect_gbps=habit.interconnect_gbps,
        tenancy=habit.tenancy,
        backend=backend,
        assumed=_FROM_HABITS if habit.assumed else (),
        source=row.text("source"),
    )


def _price(row: FactRow, column: str) -> int | None:
    usd = row.optional_money(column)
    if usd is None:
        return None
    if usd > HIGHEST_USD_PER_GPU_HOUR:
        raise row.refuse(f"{column} is {usd}, above ${HIGHEST_USD_PER_GPU_HOUR} per GPU-hour")
    return usd_to_micros(usd)


def _sold(row: FactRow, node_gpus: int) -> tuple[int, ...]:
    raw = row.text("sold_gpus")
    try:
        counts = sorted({int(part) for part in raw.split("|")})
    except ValueError:
        raise row.refuse(f"sold_gpus is {raw!r}, not counts such as 1|2|4|8") from None
    if counts[0] < 1 or counts[-1] > node_gpus:
        raise row.refuse(f"sold_gpus is {raw}, but the machine has {node_gpus} GPUs")
    return tuple(counts)
