"""Look at the waiting jobs of a round: forecasts, and what each could run on. Those that ask alike share a look."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog
from pydantic import ValidationError

from predictor.errors import PythiaError
from predictor.layout import Layout, parse_layout
from scheduler.domain.decision import Decision, Wait
from scheduler.domain.fair_share import Tenancy
from scheduler.domain.fit import Tried
from scheduler.domain.options import Options
from scheduler.domain.placement import decide, find_options
from scheduler.domain.queue_round import Waiting
from scheduler.domain.room import Room
from scheduler.domain.spec import JobSpec, Objective
from scheduler.domain.states import Outcome
from scheduler.services.deciding import decisive
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import Prospect, look_ahead
from scheduler.storage import attempts
from scheduler.storage.engine import Engine, reading
from scheduler.storage.views import AttemptView, JobView

log = structlog.get_logger(__name__)

SOLD_OUT_S = 600.0
"""Seconds for which a job that found no machine goes elsewhere, if there is an elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A job of the round with everything that deciding it takes."""

    job: JobView
    spec: JobSpec
    prospect: Prospect
    tried: tuple[Tried, ...]
    passed: frozenset[UUID]
    """Offers that were to be had on paper only."""
    waiting: Waiting
    likeness: Hashable | None
    """What those have in common whom any decision of the round would find alike; None for one of its own kind."""


@dataclass(slots=True, kw_only=True)
class Weighing:
    """The looks of one round."""

    engine: Engine
    knowledge: Knowledge
    standings: Mapping[UUID, Tenancy]
    now: datetime
    _seen: dict[Hashable, tuple[Prospect, Options]] = field(default_factory=dict)
    _waits: dict[Hashable, Decision] = field(default_factory=dict)

    def enter(self, job: JobView) -> Entry | None:
        """Forecast a job; None for one that cannot be read, which must not keep the others waiting."""
        try:
            spec = JobSpec.model_validate(job.spec)
            if job.attempts_made:
                likeness, made = None, self._attempts(job)
                # whoever it was that needed too much: the next try is on a card of its own
                own_card = any(attempt.outcome is Outcome.OUT_OF_MEMORY for attempt in made)
                tried, sold_out = crashes(made), without_machine(made, self.now)
                prospect, options = self._look(job, spec, tried, own_card=own_card)
            else:
                likeness, tried, sold_out = (job.tenant_id, *decisive(spec)), (), frozenset()
                if likeness not in self._seen:
                    self._seen[likeness] = self._look(job, spec)
                prospect, options = self._seen[likeness]
        except (PythiaError, ValidationError) as error:
            log.warning("could not decide for a waiting job", job_id=str(job.id), reason=str(error))
            return None
        elsewhere = tuple(option for option in options.ranked if option.offer_id not in sold_out)
        waiting = Waiting(
            job_id=job.id, tenant_id=job.tenant_id, priority=job.priority, options=elsewhere or options.ranked,
            free_to_move=spec.objective is Objective.COST,
        )  # fmt: skip
        return Entry(
            job=job, spec=spec, prospect=prospect, tried=tried, passed=sold_out if elsewhere else frozenset(),
            waiting=waiting, likeness=likeness,
        )  # fmt: skip

    def wait(self, entry: Entry, room: Room) -> Wait | None:
        """Why one that starts nothing in this round waits, where that can be said of all who are like it at once."""
        inventory = entry.prospect.proposals.inventory
        if entry.likeness is None or inventory.shares:  # a card may be joined that was opened in this very round
            return None
        key = entry.likeness, bool(room.kept)  # kept is the same for all but the one whom it is kept for: nothing
        if key not in self._waits:
            # it follows from what `find_options` came through with already
            self._waits[key] = decide(
                entry.spec, entry.prospect.proposals, entry.prospect.forecasts, now=self.now,
                room=replace(room, ahead=frozenset(inventory.stock.place_of)),
            )  # fmt: skip
        decision = self._waits[key]
        return decision if isinstance(decision, Wait) else None

    def _look(
        self, job: JobView, spec: JobSpec, tried: tuple[Tried, ...] = (), *, own_card: bool = False
    ) -> tuple[Prospect, Options]:
        prospect = look_ahead(self.engine, self.knowledge, spec, job.tenant_id, now=self.now)
        if own_card:
            prospect = prospect.on(replace(prospect.proposals.inventory, shares=False, cards=()))
        options = find_options(
            spec, prospect.proposals, prospect.forecasts, now=self.now, spent_micros=job.spent_micros, tried=tried,
            room=Room(headroom=self.standings[job.tenant_id].headroom),
        )  # fmt: skip
        return prospect, options

    def _attempts(self, job: JobView) -> Sequence[AttemptView]:
        with reading(self.engine) as session:
            return attempts.of_job(session, job.tenant_id, job.id)


def without_machine(made: Sequence[AttemptView], now: datetime) -> frozenset[UUID]:
    """The offers on which a job was lately lost before its command began. A price list does not know what a provider
    has: whoever asks the same one again at once hears the same."""
    return frozenset(
        attempt.offer_id
        for attempt in made
        if attempt.outcome is Outcome.LOST and attempt.running_at is None and attempt.ended_at is not None
        and (now - attempt.ended_at).total_seconds() < SOLD_OUT_S
    )  # fmt: skip


def crashes(made: Sequence[AttemptView]) -> tuple[Tried, ...]:
    """Where a job has run out of memory, and what was expected of it there. Where others were on its card, it may have
    been theirs: that says nothing of the card."""
    return tuple(
        Tried(
            gpu_type=attempt.gpu_type,
            layout=_layout(attempt),
            usable_gib=attempt.forecast.get("usable_vram_gib"),
            need_p50_gib=(attempt.forecast.get("peak_vram_gib") or {}).get("p50"),
        )
        for attempt in made
        if attempt.outcome is Outcome.OUT_OF_MEMORY and not attempt.shared
    )


def _layout(attempt: AttemptView) -> Layout:
    layout = parse_layout(attempt.layout)
    return layout if isinstance(layout, Layout) else Layout(gpu_count=layout, data_parallel=layout)
