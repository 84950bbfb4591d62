"""Decisions in one sentence."""

from __future__ import annotations

from datetime import datetime

from scheduler.domain.decision import Considered, Judged
from scheduler.domain.money import format_usd
from scheduler.domain.spec import Constraints, Objective
from scheduler.domain.verdicts import Code


def where(judged: Judged) -> str:
    """A candidate's GPUs and seller: `H100-SXM × 2 at verda FIN-01`."""
    return f"{judged.offer.gpu_type} × {judged.gpu_count} at {judged.offer.provider} {judged.offer.region}".rstrip()


def chosen_reason(chosen: Judged, considered: Considered, objective: Objective) -> str:
    """Why this placement won."""
    assert chosen.estimate is not None  # noqa: S101 - what was chosen was reckoned
    cost = format_usd(chosen.estimate.expected_micros)
    if objective is Objective.TIME:
        best = f"is the soonest finished ({chosen.estimate.use_p50_s:.0f} s, ${cost})"
    else:
        best = f"has the lowest expected cost (${cost})"
    shared = "" if chosen.sharing is None else f"; {chosen.sharing.words}"
    return f"{where(chosen)} {best} of {considered.total} candidates{shared}"


def wait_reason(considered: Considered) -> str:
    """Where the job would fit."""
    nearest = considered.candidates[0]
    return f"it fits, but not now: {where(nearest)}: {nearest.verdict.text}"


def refusal_reason(considered: Considered, constraints: Constraints, now: datetime) -> str:
    """What stands in the way: the clock, the inventory, or the reason that the nearest candidate fell to."""
    if constraints.deadline is not None and constraints.deadline <= now:
        return f"the deadline {constraints.deadline.isoformat(timespec='seconds')} has passed"
    if not considered.candidates:
        return "no offers are known: import some with `pythia import-offers`"
    nearest = considered.candidates[0]
    obstacle = _IN_THE_WAY.get(nearest.verdict.code, "no offer satisfies the constraints")
    return f"{obstacle}; nearest: {where(nearest)}: {nearest.verdict.text}"


_IN_THE_WAY: dict[Code, str] = {
    Code.VRAM: "it fits in the memory of nothing on offer",
    Code.FIT_PROBABILITY: "it fits nowhere with the asked probability",
    Code.TRIED: "it ran out of memory, and nothing larger is on offer",
    Code.MAX_RUNTIME: "it would run too long everywhere it fits",
    Code.DEADLINE: "no placement meets the deadline",
    Code.BUDGET: "no placement stays within the budget",
    Code.NEIGHBOURS: "a card of its own does not do, and on a shared one others would suffer",
    Code.QUOTA: "the tenant's quota of GPUs allows no placement",
    Code.QUOTA_SPEND: "the tenant's monthly quota allows no placement",
    Code.CAPACITY: "no offer has that many GPUs",
    Code.NO_FORECAST: "nothing is known of its run time",
}
