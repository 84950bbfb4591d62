"""Where a job would go if the chosen placement ran out of memory: a plan says so before anything is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from predictor.forecast import Forecast
from scheduler.domain.candidates import Proposals
from scheduler.domain.decision import Judged, Placement
from scheduler.domain.fit import Tried
from scheduler.domain.foresight import Foresight
from scheduler.domain.money import usd_to_micros
from scheduler.domain.placement import find_best
from scheduler.domain.room import OPEN, Room
from scheduler.domain.spec import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """The next placement after a crash of the first."""

    candidate: Judged
    within_budget: bool
    """Both tries, each at its p90, stay below max_cost_usd; true where there is no budget."""


def after_out_of_memory(
    spec: JobSpec,
    proposals: Proposals,
    forecasts: Foresight | Sequence[Forecast],
    first: Placement,
    *,
    now: datetime,
    room: Room = OPEN,
) -> Fallback | None:
    """The fallback of a placement; None where a crash would end the job: no second attempt, or nothing larger."""
    chosen = first.chosen
    if spec.max_attempts < 2 or chosen.forecast is None or chosen.forecast.peak_vram is None:
        return None
    crash = Tried(
        gpu_type=chosen.offer.gpu_type,
        layout=chosen.forecast.layout,
        usable_gib=chosen.forecast.usable_vram_gib,
        need_p50_gib=chosen.forecast.peak_vram.p50_gib,
    )
    # without the budget: what would be needed is worth knowing, and whether it can be paid is said beside it
    unbounded = spec.model_copy(update={"constraints": spec.constraints.model_copy(update={"max_cost_usd": None})})
    # a crash on a card that was shared says nothing of a card of its own
    tried = () if chosen.sharing is not None else (crash,)
    second = find_best(unbounded, proposals, forecasts, now=now, tried=tried, room=room)
    return None if second is None else Fallback(candidate=second, within_budget=_affordable(spec, chosen, second))


def _affordable(spec: JobSpec, first: Judged, second: Judged) -> bool:
    budget = spec.constraints.max_cost_usd
    costs = [one.estimate.try_p90_micros for one in (first, second) if one.estimate is not None]
    return budget is None or sum(costs) <= usd_to_micros(budget)
