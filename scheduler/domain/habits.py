"""What price lists leave out of a provider: billing terms, capacity, network, tenancy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from predictor.errors import InvalidFacts
from predictor.facts import FactRow, datasets_dir, read_facts
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.offers import Tenancy

PROVIDER_COLUMNS = (
    "provider", "hq_country", "billing_increment_s", "minimum_s", "provision_s", "capacity_gpus", "max_nodes",
    "interconnect_gbps", "tenancy", "basis", "note",
)  # fmt: skip
ANY_PROVIDER = "*"

FROM_HABITS = (
    "billing_increment_s", "minimum_s", "provision_s", "capacity_gpus", "max_nodes", "interconnect_gbps", "tenancy",
)  # fmt: skip
"""The fields of an offer that come from here."""


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
