"""What jobs of one kind may choose from: every layout on all terms, as columns.

Made by the enumeration and the judgement of memory that a decision makes; jobs of a kind differ only in how much
work they are, so times stand here for one unit of work, and start-up apart from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.forecast import Forecast
from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.candidates import Proposals
from scheduler.domain.fit import Tried
from scheduler.domain.foresight import foresee
from scheduler.domain.outlook import Outlook, look_at
from scheduler.domain.quantiles import LEVELS, given_fit, quantile
from scheduler.domain.spec import Constraints
from scheduler.domain.verdicts import NEARNESS, Code
from scheduler.replay.market import Market

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Menu:
    """One cell per row: a layout of a GPU type, on some terms. Rows of the same terms stand together."""

    terms: Ints
    """Place in `Market.terms`."""
    gpu_count: Ints
    provision_s: Floats
    billing_increment_s: Ints
    minimum_s: Ints
    startup_s: Floats
    p10_s: Floats
    """Of one unit of work without start-up, as are p50 and p90."""
    p50_s: Floats
    p90_s: Floats
    fit: Floats
    """The probability that it fits, by the forecast and by what earlier attempts taught."""
    accepted: Flags
    """Whether that is as probable as the job asks."""
    tried: Flags
    """Ruled out by an earlier attempt that ran out of memory."""
    headroom: Floats
    """Usable memory over the forecast median."""
    roomy_from: Floats
    """The headroom that a job would need elsewhere, had it run out of memory here."""
    holds_weights: Flags
    layout_place: Ints
    """Among the layouts of its GPU type and count."""
    question: Ints
    """Which question of its kind the forecast answers."""

    def __len__(self) -> int:
        return len(self.terms)

    def take(self, rows: Rows) -> Menu:
        """The rows that an index array chooses."""
        return Menu(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


class Kind:
    """Jobs that ask the same questions of a market: enumerated once, judged anew after each set of crashes."""

    def __init__(
        self, market: Market, constraints: Constraints, proposals: Proposals, forecasts: Sequence[Forecast]
    ) -> None:
        """`forecasts` answer the proposals' questions for one unit of work."""
        self._constraints = constraints
        self._proposals = proposals
        self._foresight = foresee(proposals.board, forecasts)
        terms_of_place = market.terms_of_lot[proposals.places]
        terms, first_lot = np.unique(terms_of_place[terms_of_place >= 0], return_index=True)
        groups = proposals.groups[terms_of_place >= 0][first_lot]
        first = self._foresight.first
        sizes = first[groups + 1] - first[groups]
        terms = np.repeat(terms, sizes)
        layout_place = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self._cell = np.repeat(first[groups], sizes) + layout_place
        of = [market.terms[one] for one in terms.tolist()]
        outlook = look_at(proposals, self._foresight, constraints, ())
        self.menu = Menu(
            terms=terms,
            gpu_count=np.array([one.gpu_count for one in of], dtype=np.int64),
            provision_s=np.array([one.provision_s for one in of], dtype=np.float64),
            billing_increment_s=np.array([one.billing_increment_s for one in of], dtype=np.int64),
            minimum_s=np.array([one.minimum_s for one in of], dtype=np.int64),
            holds_weights=outlook.holds_weights[self._cell],
            layout_place=layout_place,
            question=self._foresight.question[outlook.option][self._cell],
            **self._judgement(outlook),
        )
        """All rows, as they look before anything was tried."""

    def after(self, tried: Sequence[Tried]) -> Menu:
        """The same rows, judged after crashes."""
        outlook = look_at(self._proposals, self._foresight, self._constraints, tried)
        return replace(self.menu, **self._judgement(outlook))

    def _judgement(self, outlook: Outlook) -> dict[str, NDArray[Any]]:
        fit = 1.0 - outlook.oom_probability
        crashed = outlook.near == NEARNESS[Code.TRIED]
        columns = {
            "startup_s": outlook.startup_s,
            "p10_s": outlook.p10_s,
            "p50_s": outlook.p50_s,
            "p90_s": outlook.p90_s,
            "fit": fit,
            "accepted": (fit >= self._constraints.min_fit_probability) & outlook.timed & ~crashed,
            "tried": crashed,
            "headroom": outlook.headroom,
            "roomy_from": outlook.roomy_from,
        }
        return {name: column[self._cell] for name, column in columns.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What of a menu is worth weighing when cost and chance are reckoned, one cell per row but for `levels_s`."""

    rows: Rows
    """Of the menu."""
    terms: Ints
    billing_increment_s: Ints
    minimum_s: Ints
    before_s: Floats
    """Provisioning and start-up."""
    levels_s: Floats
    """(levels, rows): quantiles of the run time of one unit of work, at the levels whose mean is a mean."""
    p50_s: Floats
    p90_s: Floats
    asked_s: Floats
    """The quantile that a deadline is compared with: it fits and is done by then as often as is asked; infinite where
    it does not even fit so often."""
    oom_probability: Floats
    """Below 1, by less than a decision tells apart: what is sure to fail still has a price."""
    by_headroom: Rows
    """Places here, the least headroom first."""
    roomy_at: Rows
    """The place in `by_headroom` from which on a second try would be roomy enough."""
    unlikely: bool
    """No row fits with the asked probability; these are the likeliest."""


def judge(menu: Menu) -> Judged:
    """Leave out the rows that are unlikely to fit, and those that another row on the same terms beats."""
    return judge_rows(menu, unbeaten(menu, np.flatnonzero(or_likeliest(menu, menu.accepted))))


def judge_rows(menu: Menu, rows: Rows) -> Judged:
    """Exactly these rows, as columns."""
    p10, p50, p90 = menu.p10_s[rows], menu.p50_s[rows], menu.p90_s[rows]
    headroom, fit, asked = menu.headroom[rows], menu.fit[rows], Constraints().min_deadline_probability
    order = np.argsort(headroom, kind="stable")
    return Judged(
        rows=rows,
        terms=menu.terms[rows],
        billing_increment_s=menu.billing_increment_s[rows],
        minimum_s=menu.minimum_s[rows],
        before_s=menu.provision_s[rows] + menu.startup_s[rows],
        levels_s=np.stack([quantile(p10, p50, p90, level) for level in LEVELS]),
        p50_s=p50,
        p90_s=p90,
        asked_s=np.where(fit < asked, np.inf, quantile(p10, p50, p90, given_fit(asked, fit))),
        oom_probability=np.minimum(1.0 - menu.fit[rows], 1.0 - 1e-6),
        by_headroom=order,
        roomy_at=np.searchsorted(headroom[order], menu.roomy_from[rows]),
        unlikely=not menu.accepted.any(),
    )


def or_likeliest(menu: Menu, allowed: Flags) -> Flags:
    """The allowed rows; where there are none, those most likely to fit: a job that is refused is asked again."""
    allowed = allowed & ~menu.tried
    if allowed.any():
        return allowed
    left = ~menu.tried if not menu.tried.all() else np.ones(len(menu), dtype=np.bool_)
    likeliest: Flags = left & (menu.fit >= menu.fit[left].max())
    return likeliest


def fastest_on_each_terms(menu: Menu, allowed: Flags) -> Rows:
    """Of the allowed rows, for each terms the one with the shortest median run time."""
    rows = np.flatnonzero(allowed)
    order = rows[np.lexsort((menu.layout_place[rows], menu.p50_s[rows], menu.terms[rows]))]
    return order[np.flatnonzero(np.diff(menu.terms[order], prepend=-1))]


def unbeaten(menu: Menu, rows: Rows) -> Rows:
    """Of these rows, those that no other row on the same terms beats or equals in every respect.

    An expected cost rises with each quantile, with the start, with the chance of running out of memory and with the
    room that would be needed then, so a row that is beaten in all of them costs no less, whatever the price and the
    amount of work; of equals the plainest layout wins.
    """
    worth = np.stack([
        menu.startup_s[rows], menu.p10_s[rows], menu.p50_s[rows], menu.p90_s[rows], -menu.fit[rows],
        -menu.headroom[rows], menu.roomy_from[rows],
    ])  # fmt: skip
    kept = np.ones(len(rows), dtype=np.bool_)
    same = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(menu.terms[rows])) + 1)
    for group in same:
        mine = worth[:, group]
        no_worse = (mine[:, :, None] <= mine[:, None, :]).all(axis=0)  # [a, b]: a is at least as good as b
        before = np.arange(len(group))[:, None] < np.arange(len(group))[None, :]
        kept[group] = ~(no_worse & (~no_worse.T | before)).any(axis=0)
    return rows[kept]


def concatenate(menus: Sequence[Menu]) -> Menu:
    """The rows of several menus, one after the other; what they call a question is their own."""
    return Menu(**{field.name: np.concatenate([getattr(one, field.name) for one in menus]) for field in fields(Menu)})


def certain(menu: Menu) -> Menu:
    """The same rows where memory is not at issue: it is known that the job runs on each of them."""
    yes = np.ones(len(menu), dtype=np.bool_)
    return replace(menu, fit=np.ones(len(menu)), accepted=yes, holds_weights=yes, tried=~yes)
