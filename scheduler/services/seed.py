"""Fill the inventory of a new installation: the shipped prices on the simulated backend, and this very host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from predictor.facts import datasets_dir
from predictor.hardware import CPU, load_gpu_types
from scheduler.domain.offers import Offer
from scheduler.domain.price_file import read_habits, read_prices
from scheduler.storage import offers
from scheduler.storage.engine import Engine, transaction
from scheduler.storage.ids import new_id

PRICES = "prices_2026_08.csv"
LOCAL = "local"
HERE = "here"
"""The region of the one host that an installation began on."""
SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGpus:
    """GPUs of one type in this host."""

    gpu_type: str
    count: int


def shipped_offers() -> Sequence[Offer]:
    """The price list that ships, as offers of the simulated backend, all free."""
    return read_prices(datasets_dir() / PRICES, read_habits(), load_gpu_types(), backend=SIMULATED, new_id=new_id)


def seed_inventory(
    engine: Engine, *, host_slots: int, host_gpus: Sequence[HostGpus] = (), today: date | None = None
) -> int:
    """Import the shipped price list, and offer this host's CPU slots and GPUs at no price; how many offers.

    Nothing is rented from anybody: the price list's offers run on the simulated backend.
    """
    gpus = load_gpu_types()
    priced = shipped_offers()
    day = (today or date.today()).isoformat()  # noqa: DTZ011 - a date for people, of a price that is always zero
    host = [host_offer(CPU, host_slots, day)]
    host.extend(host_offer(gpus.get(found.gpu_type).name, found.count, day) for found in host_gpus)
    with transaction(engine) as session:
        return offers.upsert(session, [*priced, *host])


def parts_of(count: int) -> tuple[int, ...]:
    """GPU counts to offer of a machine that can be had in any part: those that layouts split work over, and all."""
    return (*(size for size in (1, 2, 4, 8, 16, 32, 64, 128) if size < count), count)


def host_offer(gpu_type: str, count: int, day: str, *, region: str = HERE) -> Offer:
    """What is in a host, at no price; a host that has registered is a region of its own."""
    return Offer(
        id=new_id(), provider=LOCAL, region=region, country=None, jurisdiction=None, provider_hq=None,
        instance_type="this host", gpu_type=gpu_type, node_gpus=count, sold_gpus=parts_of(count), max_nodes=1,
        capacity_gpus=count, on_demand_micros_per_gpu_hour=0, spot_micros_per_gpu_hour=None, price_date=day,
        billing_increment_s=1, minimum_s=0, provision_s=0.0, interconnect_gbps=None, tenancy="dedicated",
        backend=LOCAL, assumed=(), source="measured on this host",
    )  # fmt: skip
