"""From the values of prices and imports to the bodies that are sent."""

from __future__ import annotations

from scheduler.api.schemas.offers import ImportOut, PriceImportOut, PriceOut, QuarantineOut
from scheduler.domain.money import exact_usd
from scheduler.services.import_offers import Imported
from scheduler.storage.views import PriceImportView, PriceView, QuarantineView


def imported(done: Imported) -> ImportOut:
    """What became of a price list."""
    return ImportOut(
        import_id=done.import_id, format=done.format, stored=done.stored, older=done.older,
        quarantined=done.quarantined, skipped=dict(done.skipped),
    )  # fmt: skip


def price(view: PriceView) -> PriceOut:
    """What an offer was."""
    return PriceOut(
        price_date=view.price_date,
        on_demand_usd_per_gpu_hour=exact_usd(view.on_demand_micros_per_gpu_hour),
        spot_usd_per_gpu_hour=exact_usd(view.spot_micros_per_gpu_hour),
        capacity_gpus=view.capacity_gpus,
        enabled=view.enabled,
        source=view.source,
        import_id=view.import_id,
        inventory_version=view.inventory_version,
        applied=view.applied,
        recorded_at=view.recorded_at,
    )


def price_import(view: PriceImportView) -> PriceImportOut:
    """A list that was taken in."""
    return PriceImportOut(
        id=view.id, format=view.format, sha256=view.sha256, lines=view.lines, stored=view.stored, older=view.older,
        quarantined=view.quarantined, skipped=dict(view.skipped), oldest_price_date=view.oldest_price_date,
        newest_price_date=view.newest_price_date, imported_at=view.imported_at,
    )  # fmt: skip


def quarantined(view: QuarantineView, *, applied: bool | None = None) -> QuarantineOut:
    """A price that was not believed, and whether its offer took it once it was."""
    one = view.offer
    return QuarantineOut(
        id=view.id,
        provider=one.provider,
        region=one.region,
        instance_type=one.instance_type,
        gpu_type=one.gpu_type,
        on_demand_usd_per_gpu_hour=exact_usd(one.on_demand_micros_per_gpu_hour),
        spot_usd_per_gpu_hour=exact_usd(one.spot_micros_per_gpu_hour),
        price_date=one.price_date,
        doubt=view.doubt,
        factor=view.factor,
        reason=view.reason,
        state=view.state,
        applied=applied,
        held_at=view.held_at,
    )
