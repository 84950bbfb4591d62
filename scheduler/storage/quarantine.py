"""Prices that nobody believes yet: held, then released or dropped by a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.errors import NotFound
from scheduler.domain.offers import Offer as OfferValue
from scheduler.domain.price_checks import Suspicion
from scheduler.storage.engine import Session
from scheduler.storage.ids import new_id
from scheduler.storage.rows import columns
from scheduler.storage.tables import QuarantinedPrice
from scheduler.storage.views import QuarantineView

_KEY = ("provider", "region", "instance_type", "gpu_type")


def hold(session: Session, offer: OfferValue, suspicion: Suspicion, *, import_id: UUID | None) -> None:
    """Keep a price out of the inventory; of one offer the last such price is held."""
    body = {field.name: getattr(offer, field.name) for field in fields(offer)} | {
        "id": str(offer.id), "sold_gpus": list(offer.sold_gpus), "assumed": list(offer.assumed),
    }  # fmt: skip
    values = {
        "id": new_id(), "import_id": import_id, "offer": body, "doubt": suspicion.doubt, "factor": suspicion.factor,
        "reason": suspicion.text, **{name: getattr(offer, name) for name in _KEY},
    }  # fmt: skip
    statement = insert(QuarantinedPrice).values(**values)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=list(_KEY),
            index_where=QuarantinedPrice.state == "held",
            set_={
                **{name: statement.excluded[name] for name in ("import_id", "offer", "doubt", "factor", "reason")},
                "held_at": func.now(),
            },
        )
    )


def held(session: Session, *, after: UUID | None = None, limit: int = 100) -> list[QuarantineView]:
    """What waits for a person, in the order of ids."""
    query = select(*columns(QuarantinedPrice, QuarantineView)).where(QuarantinedPrice.state == "held")
    if after is not None:
        query = query.where(QuarantinedPrice.id > after)
    rows = session.execute(query.order_by(QuarantinedPrice.id).limit(limit)).mappings()
    return [_view(row) for row in rows]


def decide(
    session: Session, quarantine_id: UUID, state: Literal["released", "dropped"], *, now: datetime
) -> QuarantineView:
    """Release or drop a held price, once; NotFound where none of that id is held."""
    row = (
        session.execute(
            update(QuarantinedPrice)
            .where(QuarantinedPrice.id == quarantine_id, QuarantinedPrice.state == "held")
            .values(state=state, decided_at=now)
            .returning(*columns(QuarantinedPrice, QuarantineView))
            .execution_options(synchronize_session=False)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound("price in quarantine", quarantine_id)
    return _view(row)


def _view(row: Mapping[Any, Any]) -> QuarantineView:
    body = dict(row["offer"])
    offer = OfferValue(
        **body | {"id": UUID(body["id"]), "sold_gpus": tuple(body["sold_gpus"]), "assumed": tuple(body["assumed"])}
    )
    return QuarantineView(**{**row, "offer": offer})
