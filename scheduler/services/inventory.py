"""Look through the inventory, and change single offers of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from predictor.hardware import GpuCatalogue
from scheduler.storage import offers
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.views import OfferView


def page_offers(
    engine: Engine,
    gpus: GpuCatalogue,
    *,
    gpu_type: str | None = None,
    provider: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[OfferView]:
    """Offers in the order of their ids. A bare GPU type means all its variants; UnknownGpuType for none of either."""
    names = () if gpu_type is None else (gpu_type, *(variant.name for variant in gpus.variants(gpu_type)))
    with reading(engine) as session:
        return offers.page(session, gpu_types=names, provider=provider, after=after, limit=limit)


def change_offer(engine: Engine, offer_id: UUID, changes: Mapping[str, Any]) -> OfferView:
    """Set capacity, prices or whether it is used; what is held of it stays held."""
    with transaction(engine) as session:
        return offers.change(session, offer_id, changes)


def is_empty(engine: Engine) -> bool:
    """Whether no offer was ever put in."""
    with reading(engine) as session:
        return offers.count(session) == 0
