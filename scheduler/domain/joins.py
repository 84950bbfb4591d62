"""Cards that a job could join, weighed beside cards of its own in the same table.

What joining costs is what it lengthens the occupation of the card by: the whole of the job's own work, whatever the
turns in which it is done, and what the switching takes from those who had the card to themselves. The p90, which
budgets and quotas are held to, is what the job would pay if it paid for the card alone for as long as it is there: no
way of splitting the machine's bill can ask for more. If it turns out that they do not fit together, everybody on the
card is taken to begin again on a card of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime

import numpy as np

from scheduler.domain.arrays import Ints
from scheduler.domain.candidates import Proposals
from scheduler.domain.cost import MAX_SECONDS, NO_ESCALATION, OOM_SHARE, Costs
from scheduler.domain.listing import late
from scheduler.domain.money import format_usd, usd_to_micros
from scheduler.domain.outlook import Outlook
from scheduler.domain.quantiles import LEVELS, given_fit
from scheduler.domain.room import Room
from scheduler.domain.sharing import (
    SWITCHING,
    Card,
    Sharing,
    Work,
    can_share,
    ends_s,
    ends_within,
    fit_together,
    may_share,
)
from scheduler.domain.spec import JobSpec
from scheduler.domain.spot import NEVER_S
from scheduler.domain.table import Join, Table
from scheduler.domain.verdicts import FEASIBLE, NEARNESS, Code, Verdict

_PPM = 1_000_000


def with_joins(table: Table, outlook: Outlook, spec: JobSpec, *, now: datetime, spent_micros: int, room: Room) -> Table:
    """The table with a row for each card that the job could join, or the table itself where there is none."""
    cards = outlook.proposals.inventory.cards
    if not cards or outlook.tried or not may_share(spec):
        return table
    joiner = _Joiner(table=table, outlook=outlook, spec=spec, now=now, spent_micros=spent_micros, room=room)
    rows = [row for card in sorted(cards, key=lambda card: card.id) for row in joiner.rows(card)]
    return _extended(table, outlook.proposals, rows) if rows else table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    join: Join
    lot: int
    cell: int
    near: int
    number: float
    use_p50_s: float
    use_p90_s: float
    done_s: float
    p50: int
    p90: int
    try_p90: int
    mean: int
    leaves: int
    wasted: int
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joiner:
    """One job, asking card after card."""

    table: Table
    outlook: Outlook
    spec: JobSpec
    now: datetime
    spent_micros: int
    room: Room

    def rows(self, card: Card) -> Iterator[_Row]:
        """The card with each layout of one GPU that would do on a card of that type alone."""
        proposals, stock = self.outlook.proposals, self.outlook.proposals.inventory.stock
        place = stock.place_of.get(card.offer_id)
        if place is None or card.offer_id in self.room.kept:  # a start is held there, which a longer stay would delay
            return
        lots = proposals.places
        here = (stock.lot_offer[lots] == place) & (stock.lot_count[lots] == 1) & (stock.lot_hazard[lots] == 0)
        for at in np.flatnonzero(here).tolist():
            group = int(proposals.groups[at])
            for cell in range(int(self.outlook.first[group]), int(self.outlook.first[group + 1])):
                (forecast,) = self.outlook.forecasts(np.array([cell]))
                backend = stock.offers[place].backend
                alone = self.outlook.near[cell] == FEASIBLE
                if alone and can_share(forecast, gpu_count=1, spot=False, backend=backend):
                    yield self._row(card, int(lots[at]), cell)

    def _row(self, card: Card, lot: int, cell: int) -> _Row:
        outlook = self.outlook
        (forecast,) = outlook.forecasts(np.array([cell]))
        assert forecast.peak_vram is not None and forecast.usable_vram_gib is not None  # noqa: S101, PT018 - `can_share`
        mine = _work(outlook, cell)
        works = [*(member.rest for member in card.members), mine]
        usable = min(forecast.usable_vram_gib, *(member.usable_gib for member in card.members))
        known = [member.fit_probability for member in card.members if member.fit_probability is not None]
        needs = [*(member.vram for member in card.members), forecast.peak_vram]
        fit = min(fit_together(needs, usable), float(outlook.fit[cell]), *known)
        *_, use_p50_s = ends_s([work.p50_s for work in works])
        *_, use_p90_s = ends_within(works, 0.9)
        leaves = self._leaves(lot)
        try_p90 = _alone(card, use_p90_s) + leaves
        levels = [_lengthened(card, mine.within(level)) for level in LEVELS]
        mean = sum(levels) // len(levels) + leaves
        wasted = _lengthened(card, float(outlook.startup_s[cell] + OOM_SHARE * outlook.p50_s[cell]))
        found = _Row(
            join=Join(card=card, sharing=_sharing(card, fit), verdict=None), lot=lot, cell=cell, near=FEASIBLE,
            number=0.0, use_p50_s=card.ready_s + use_p50_s, use_p90_s=card.ready_s + use_p90_s,
            done_s=card.ready_s + _done_s(works, self.spec.constraints.min_deadline_probability, fit)[-1],
            p50=levels[len(LEVELS) // 2] + leaves, try_p90=try_p90, mean=mean, leaves=leaves, wasted=wasted,
            p90=min(
                _alone(card, _done_s(works, 0.9, fit)[-1]) + leaves,
                max(try_p90, wasted + self._again(card, mine.p90_s, self.table.costs.try_p90_micros, leaves)),
            ),
            expected=_weighed(mean, wasted + self._after(card, mine, mean, leaves), fit),
        )  # fmt: skip
        verdict = next(self._against(card, found, works), None)
        if verdict is None:
            return found
        join = replace(found.join, verdict=verdict)
        return replace(found, join=join, near=NEARNESS[verdict.code], number=float(verdict.number or 0.0))

    def _against(self, card: Card, row: _Row, works: list[Work]) -> Iterator[Verdict]:
        """What speaks against it, in the order of nearness."""
        asked, fit = self.spec.constraints, row.join.sharing.fit_probability
        asked_fit = max([asked.min_fit_probability, *(one.constraints.min_fit_probability for one in card.members)])
        if fit < asked_fit:
            text = f"all on the card fit with probability {fit:.3f}, {asked_fit:g} is asked"
            yield Verdict(Code.FIT_PROBABILITY, fit, text)
        over = row.use_p90_s - card.ready_s - (asked.max_runtime_s or MAX_SECONDS)
        if over > 0:
            yield Verdict(Code.MAX_RUNTIME, over, f"shared, it would run {over:.0f} s longer at p90 than it may")
        if asked.deadline is not None:
            over_s = row.done_s - (asked.deadline - self.now).total_seconds()
            if over_s > 0:
                yield Verdict(Code.DEADLINE, over_s, late(over_s))
        if asked.max_cost_usd is not None:
            micros = row.p90 + self.spent_micros - usd_to_micros(asked.max_cost_usd)
            if micros > 0:
                yield Verdict(Code.BUDGET, micros / 1e6, f"${format_usd(micros)} over the budget at p90")
        if hurt := sum(self._hurts(card, at, works, fit) for at in range(len(card.members))):
            who = "one job" if hurt == 1 else f"{hurt} jobs"
            yield Verdict(Code.NEIGHBOURS, hurt, f"{who} there would miss a deadline, a budget or a time limit for it")
        left = self.room.headroom.micros
        if left is not None and row.try_p90 > left:
            text = f"${format_usd(row.try_p90 - left)} at p90 above what is left of the tenant's quota of this month"
            yield Verdict(Code.QUOTA_SPEND, (row.try_p90 - left) / 1e6, text)

    def _hurts(self, card: Card, at: int, works: list[Work], fit: float) -> bool:
        """Whether somebody there could no longer be promised what was promised."""
        member = card.members[at]
        asked = member.constraints
        if asked.deadline is not None:
            end_s = _done_s(works, asked.min_deadline_probability, fit)[at]
            if card.ready_s + end_s > (asked.deadline - self.now).total_seconds():
                return True
        end_s = ends_within(works, 0.9)[at]
        if asked.max_runtime_s is not None and member.elapsed_s + end_s > asked.max_runtime_s:
            return True
        if asked.max_cost_usd is None:
            return False
        until_s = card.metered_s + card.ready_s + end_s + card.tariff.billing_increment_s
        most = member.spent_micros + card.tariff.charge(card.booked_s, until_s).cost_micros
        return most > usd_to_micros(asked.max_cost_usd)

    def _after(self, card: Card, mine: Work, mean: int, leaves: int) -> int:
        """What not fitting costs beside what was wasted: everybody begins again alone, and what else a crash costs."""
        own = self._again(card, mine.p50_s, self.table.costs.mean_micros, leaves)
        again = sum(card.tariff.charge(0.0, card.provision_s + one.whole.p50_s).cost_micros for one in card.members)
        crashes = [self.spec.constraints, *(member.constraints for member in card.members)]
        return max(own, mean) + again + sum(usd_to_micros(one.out_of_memory_usd) for one in crashes)

    def _again(self, card: Card, work_s: float, bills: Ints, leaves: int) -> int:
        """What a second try costs, on a card of its own; `bills` are those of the table's candidates."""
        own = card.tariff.charge(0.0, card.provision_s + work_s).cost_micros + leaves
        feasible = self.table.nearness == FEASIBLE
        return min(NO_ESCALATION * own, int(bills[feasible].min())) if feasible.any() else own

    def _leaves(self, lot: int) -> int:
        stock = self.outlook.proposals.inventory.stock
        return round(int(stock.egress[stock.lot_offer[lot]]) * self.spec.output_gib)


def _work(outlook: Outlook, cell: int) -> Work:
    before = float(outlook.startup_s[cell])
    runs = (float(run[cell]) for run in (outlook.p10_s, outlook.p50_s, outlook.p90_s))
    p10_s, p50_s, p90_s = (before + run for run in runs)
    return Work(p10_s=p10_s, p50_s=p50_s, p90_s=p90_s)


def _sharing(card: Card, fit: float) -> Sharing:
    jobs = tuple(sorted(member.job_id for member in card.members))
    return Sharing(card_id=card.id, version=card.version, tariff=card.tariff, job_ids=jobs, fit_probability=fit)


def _lengthened(card: Card, work_s: float) -> int:
    """Micro-dollars by which so much work more lengthens the occupation of a card."""
    rests = [member.rest.p50_s for member in card.members]
    begin_s = card.metered_s + card.ready_s
    without_s = max(ends_s(rests), default=0.0)
    with_s = SWITCHING * (sum(rests) + min(work_s, MAX_SECONDS))
    return card.tariff.charge(begin_s + without_s, begin_s + max(with_s, without_s)).cost_micros


def _alone(card: Card, until_s: float) -> int:
    """Micro-dollars of the card until then if one paid for all of it, with an increment for a meter that is not read to
    the second: no way of splitting the bill asks for more."""
    used_s = card.ready_s + min(until_s, MAX_SECONDS) + card.tariff.billing_increment_s
    return card.tariff.charge(card.metered_s, card.metered_s + used_s).cost_micros


def _done_s(works: list[Work], probability: float, fit: float) -> list[float]:
    """When each ends, with this probability and all of them fitting; `NEVER_S` where they fit less often than that."""
    if fit < probability:
        return [NEVER_S] * len(works)
    return ends_within(works, float(given_fit(probability, np.array(fit))))


def _weighed(mean: int, failed: int, fit: float) -> int:
    chance = round((1.0 - fit) * _PPM)
    return (mean * (_PPM - chance) + failed * chance) // _PPM


def _extended(table: Table, proposals: Proposals, rows: list[_Row]) -> Table:
    stock = proposals.inventory.stock
    lots = np.array([row.lot for row in rows], dtype=np.int64)
    ones = np.ones(len(rows), dtype=np.int64)
    new = {
        "use_p50_s": [row.use_p50_s for row in rows], "use_p90_s": [row.use_p90_s for row in rows],
        "p50_micros": [row.p50 for row in rows], "p90_micros": [row.p90 for row in rows],
        "try_p90_micros": [row.try_p90 for row in rows],
        "mean_micros": [row.mean for row in rows], "leaves_micros": [row.leaves for row in rows],
        "wasted_micros": [row.wasted for row in rows], "expected_micros": [row.expected for row in rows],
    }  # fmt: skip
    costs = Costs(**{
        field.name: np.append(old := getattr(table.costs, field.name), np.array(new[field.name], dtype=old.dtype))
        for field in fields(Costs)
    })  # fmt: skip
    cells = np.array([row.cell for row in rows], dtype=np.int64)
    return replace(
        table,
        joins=tuple(row.join for row in rows),
        costs=costs,
        lot=np.append(table.lot, lots),
        done_s=np.append(table.done_s, [row.done_s for row in rows]),
        stands_for=np.append(table.stands_for, ones),
        cell=np.append(table.cell, cells),
        gpu_count=np.append(table.gpu_count, ones),
        free=np.append(table.free, ones),
        left=np.append(table.left, ones),
        provision_s=np.append(table.provision_s, [row.join.card.ready_s for row in rows]),
        micros_per_hour=np.append(table.micros_per_hour, [row.join.card.tariff.micros_per_gpu_hour for row in rows]),
        tie=np.append(table.tie, stock.lot_offer[lots]),
        spot=np.append(table.spot, np.zeros(len(rows), dtype=np.bool_)),
        layout_place=np.append(table.layout_place, 0 * ones),
        nearness=np.append(table.nearness, [row.near for row in rows]),
        number=np.append(table.number, [row.number for row in rows]),
        later=np.append(table.later, np.zeros(len(rows), dtype=np.bool_)),
    )
