"""Seats on cards that several jobs of a tenant are on: opened with a placement, taken in the decision's transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from scheduler.domain.decision import Judged
from scheduler.domain.machines import Tariff
from scheduler.domain.sharing import Sharing, can_share, may_share
from scheduler.domain.spec import JobSpec
from scheduler.services.standing import Newcomer, holds_a_start
from scheduler.storage import cards, events
from scheduler.storage.engine import Session


class CardGone(Exception):
    """Somebody has joined the chosen card since it was looked at, or it cannot be joined any more."""


def opens_card(spec: JobSpec, chosen: Judged) -> bool:
    """Whether others of the tenant may join a placement on a card of its own."""
    forecast, backend = chosen.forecast, chosen.offer.backend
    assert forecast is not None  # noqa: S101 - what was chosen was forecast
    return may_share(spec) and can_share(forecast, gpu_count=chosen.gpu_count, spot=chosen.spot, backend=backend)


def open_card(session: Session, attempt_id: UUID, chosen: Judged, *, tenant_id: UUID, now: datetime) -> None:
    """The card of an attempt that others may join."""
    offer = chosen.offer
    tariff = Tariff(
        gpu_count=1, micros_per_gpu_hour=chosen.micros_per_gpu_hour, billing_increment_s=offer.billing_increment_s,
        minimum_s=offer.minimum_s,
    )  # fmt: skip
    cards.open_for(
        session,
        attempt_id,
        tenant_id=tenant_id,
        offer_id=offer.id,
        tariff=tariff,
        provision_s=chosen.provision_s,
        now=now,
    )


def take_seat(session: Session, sharing: Sharing, newcomer: Newcomer, offer_id: UUID, *, now: datetime) -> None:
    """Join a card as it was looked at; CardGone where that cannot be, and the transaction is to be undone.

    A start that is held on the offer for somebody ahead was reckoned from when the card comes back.
    """
    if not cards.join(session, sharing.card_id, tenant_id=newcomer.tenant_id, version=sharing.version):
        raise CardGone
    if holds_a_start(session, newcomer, offer_id, now=now):
        raise CardGone
    for job_id in sharing.job_ids:  # what they are slowed down by belongs to their story
        events.add(
            session, tenant_id=newcomer.tenant_id, job_id=job_id, kind="card_joined", now=now,
            data={"card_id": str(sharing.card_id), "by_job": str(newcomer.job_id)},
        )  # fmt: skip
