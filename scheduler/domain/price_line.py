"""One price as a list states it, and the offer it makes with what the list leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from scheduler.domain.habits import ANY_PROVIDER, FROM_HABITS, Habits
from scheduler.domain.offers import Offer

ONE_MACHINE = 1
"""Parts of GPUs are never joined over a network: that would be slower and dearer than the whole card."""

PriceKey = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """What one seller asks for one GPU type on one machine. Prices are micro-dollars per GPU-hour; one is there."""

    provider: str
    region: str
    country: str | None
    jurisdiction: str | None
    provider_hq: str | None
    instance_type: str
    gpu_type: str
    node_gpus: int
    sold_gpus: tuple[int, ...]
    on_demand_micros: int | None
    spot_micros: int | None
    price_date: str
    source: str
    egress_micros_per_gib: int | None = None
    """None where the list does not say."""
    max_nodes: int | None = None
    """As its provider's habit is, where None."""

    @property
    def key(self) -> PriceKey:
        """What makes it the same offer in the next list."""
        return self.provider, self.region, self.instance_type, self.gpu_type


def latest_day(now: datetime) -> date:
    """The last day that a price can be of: tomorrow, which has begun in the east before today is over here."""
    return now.date() + timedelta(days=1)


def offer_of(line: PriceLine, habits: Mapping[str, Habits], *, backend: str, offer_id: UUID) -> Offer:
    """The offer of a price line, with its provider's habits."""
    habit = habits.get(line.provider) or habits[ANY_PROVIDER]
    return Offer(
        id=offer_id,
        provider=line.provider,
        region=line.region,
        country=line.country,
        jurisdiction=line.jurisdiction,
        provider_hq=line.provider_hq or habit.hq_country,
        instance_type=line.instance_type,
        gpu_type=line.gpu_type,
        node_gpus=line.node_gpus,
        sold_gpus=line.sold_gpus,
        max_nodes=habit.max_nodes if line.max_nodes is None else line.max_nodes,
        # a provider of one machine at least has that machine
        capacity_gpus=max(habit.capacity_gpus, line.node_gpus) if habit.assumed else habit.capacity_gpus,
        on_demand_micros_per_gpu_hour=line.on_demand_micros,
        spot_micros_per_gpu_hour=line.spot_micros,
        price_date=line.price_date,
        billing_increment_s=habit.billing_increment_s,
        minimum_s=habit.minimum_s,
        provision_s=habit.provision_s,
        interconnect_gbps=habit.interconnect_gbps,
        tenancy=habit.tenancy,
        backend=backend,
        assumed=FROM_HABITS if habit.assumed else (),
        source=line.source,
        egress_micros_per_gib=line.egress_micros_per_gib,
    )


def renewed(known: Offer, listed: Offer) -> Offer:
    """A known offer as a newer list has it.

    Of what no list states only what was assumed follows the table of providers: the rest was stated by somebody. What
    a list leaves out (where it stands, who sells it, what leaving costs) stays as it was known.
    """
    stated = {name: getattr(known, name) for name in FROM_HABITS if name not in known.assumed}
    placed = listed.country is not None or listed.jurisdiction not in (None, "unknown")
    egress = listed.egress_micros_per_gib
    return replace(
        listed,
        country=listed.country if placed else known.country,
        jurisdiction=listed.jurisdiction if placed else known.jurisdiction,
        provider_hq=listed.provider_hq or known.provider_hq,
        egress_micros_per_gib=known.egress_micros_per_gib if egress is None else egress,
        assumed=tuple(name for name in listed.assumed if name not in stated),
        **stated,
    )
