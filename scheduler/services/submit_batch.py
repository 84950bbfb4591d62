"""Submit many jobs: decided one after the other on one reading of the inventory, stored in chunks.

Each decision sees what those before it in the batch take. A chunk is one transaction; where it cannot be done as a
whole, its jobs are submitted one by one, as is every job that is not placed at once or may share a card. So a job of a
batch ends as it would have by itself, only that placements of its chunk may be stored before a job that has to wait or
is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from predictor.errors import PythiaError
from scheduler.domain.decision import Placement
from scheduler.domain.sharing import may_share
from scheduler.domain.spec import JobSpec
from scheduler.domain.stock import Inventory
from scheduler.services.deciding import decide_first
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import Prospect, look_at_inventory, read_inventory
from scheduler.services.placing_new import Draft, place_new
from scheduler.services.secrets import check_secrets
from scheduler.services.submit import Submitted, checked_sha256, replay, submit_draft, submit_job
from scheduler.storage.engine import Engine

CHUNK = 50
"""Jobs of one transaction: it holds the offers that it takes from for as long as its commit takes, not longer."""


@dataclass(frozen=True, slots=True)
class Item:
    """One job of a batch."""

    spec: JobSpec
    idempotency_key: str | None


def submit_jobs(
    engine: Engine, knowledge: Knowledge, items: Sequence[Item], *, tenant_id: UUID, now: datetime
) -> list[Submitted | PythiaError]:
    """Submit each job by itself: what became of it, or why it was not taken."""
    return [done for chunk in _chunks(items) for done in _Chunk(engine, knowledge, tenant_id, now).submit(chunk)]


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


@dataclass(frozen=True, slots=True)
class _Chunk:
    engine: Engine
    knowledge: Knowledge
    tenant_id: UUID
    now: datetime

    def submit(self, items: Sequence[Item]) -> list[Submitted | PythiaError]:
        done: dict[int, Submitted | PythiaError] = {}
        drafts: dict[int, Draft] = {}
        others: dict[int, tuple[Draft, Prospect]] = {}
        inventory, version = read_inventory(self.engine, self.knowledge, self.tenant_id, now=self.now)
        for place, item in enumerate(items):
            try:
                made = self._draft(item, inventory, version)
            except PythiaError as error:
                done[place] = error
                continue
            if made is None:
                continue
            if isinstance(made, Submitted):
                done[place] = made
                continue
            draft, _ = made
            decision = draft.decided.decision
            if isinstance(decision, Placement):
                drafts[place] = draft
                inventory = inventory.less(decision.chosen.offer.id, decision.chosen.gpu_count)
            else:
                others[place] = made
        stored = place_new(self.engine, self.knowledge.memory, list(drafts.values())) if drafts else None
        if stored is not None:
            done |= {
                place: Submitted(job=job, decision=decision, replayed=False)
                for place, (job, decision) in zip(drafts, stored, strict=True)
            }
        return [
            done[place] if place in done else self._alone(item, others.get(place)) for place, item in enumerate(items)
        ]

    def _draft(self, item: Item, inventory: Inventory, version: int) -> Submitted | tuple[Draft, Prospect] | None:
        if inventory.shares and may_share(item.spec):
            return None  # it may join one of the same batch, whose card must be there first
        sha256 = checked_sha256(item.spec)
        before = replay(self.engine, self.tenant_id, item.idempotency_key, sha256)
        if before is not None:
            return before
        check_secrets(self.engine, self.tenant_id, item.spec)
        prospect = look_at_inventory(self.engine, self.knowledge, item.spec, self.tenant_id, inventory, version)
        draft = Draft(
            spec=item.spec, sha256=sha256, tenant_id=self.tenant_id, idempotency_key=item.idempotency_key,
            decided=decide_first(self.knowledge, item.spec, prospect, now=self.now), now=self.now,
        )  # fmt: skip
        return draft, prospect

    def _alone(self, item: Item, made: tuple[Draft, Prospect] | None) -> Submitted | PythiaError:
        try:
            if made is not None:
                return submit_draft(self.engine, *made)
            return submit_job(
                self.engine, self.knowledge, item.spec, tenant_id=self.tenant_id, now=self.now,
                idempotency_key=item.idempotency_key,
            )  # fmt: skip
        except PythiaError as error:
            return error
