"""What jobs of one kind may choose from: every layout on every family of lots, as columns.

Made by the same enumeration and the same judgement of memory that a decision makes; jobs of a kind differ only in how
much work they are, so times stand here for one unit of work and start-up apart from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from predictor.forecast import Forecast
from scheduler.domain.candidates import Proposals
from scheduler.domain.fit import Tried
from scheduler.domain.outlook import CellOutlook, look_at
from scheduler.domain.placement import holds_weights
from scheduler.domain.spec import Constraints
from scheduler.replay.market import Floats, Market

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """One cell per row: a layout of a GPU type, on a family of lots."""

    family: Ints
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
    holds_weights: Flags
    layout_place: Ints
    """Among the layouts of its GPU type and count."""
    question: Ints
    """Which question of the kind the forecast answers."""

    def __len__(self) -> int:
        return len(self.family)

    def take(self, rows: NDArray[np.intp]) -> Menu:
        """The rows that an index array chooses."""
        return Menu(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Jobs that ask the same questions."""

    name: str
    constraints: Constraints
    proposals: Proposals
    forecasts: tuple[Forecast, ...]
    """Of one unit of work."""

    def menu(self, market: Market, tried: Sequence[Tried] = ()) -> Menu:
        """All rows, judged after the crashes in `tried`."""
        outlook = look_at(self.proposals, self.forecasts, self.constraints, tried)
        group_of: dict[int, int] = {}
        for lot in self.proposals.lots:
            family = market.family_at(lot.offer, lot.gpu_count)
            if family is not None:
                group_of[family] = lot.group
        first = np.array(outlook.first, dtype=np.int64)
        families = np.array(sorted(group_of), dtype=np.int64)
        groups = np.array([group_of[family] for family in families.tolist()], dtype=np.int64)
        sizes = first[groups + 1] - first[groups]
        family = np.repeat(families, sizes)
        layout_place = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        cell = np.repeat(first[groups], sizes) + layout_place
        of = [market.families[at] for at in family.tolist()]
        cells = outlook.cells
        answered = np.array([_answered(one, self.forecasts) for one in cells], dtype=np.int64)
        return Menu(
            family=family,
            gpu_count=np.array([one.gpu_count for one in of], dtype=np.int64),
            provision_s=np.array([one.provision_s for one in of], dtype=np.float64),
            billing_increment_s=np.array([one.billing_increment_s for one in of], dtype=np.int64),
            minimum_s=np.array([one.minimum_s for one in of], dtype=np.int64),
            startup_s=outlook.startup_s[cell],
            p10_s=outlook.p10_s[cell],
            p50_s=outlook.p50_s[cell],
            p90_s=outlook.p90_s[cell],
            fit=1.0 - outlook.oom_probability[cell],
            accepted=np.array([one.fit.verdict is None for one in cells], dtype=np.bool_)[cell] & outlook.timed[cell],
            tried=np.array([_ruled_out(one) for one in cells], dtype=np.bool_)[cell],
            holds_weights=np.array([holds_weights(one.forecast) for one in cells], dtype=np.bool_)[cell],
            layout_place=layout_place,
            question=answered[cell],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A menu, and what of it is worth weighing when cost and chance are reckoned."""

    menu: Menu
    worth: NDArray[np.intp]
    unlikely: bool
    """No row fits with the asked probability; those worth weighing are the likeliest."""


def judge(menu: Menu) -> Judged:
    """Leave out the rows that are unlikely to fit, and those that another row of the same lot beats."""
    accepted = menu.accepted & ~menu.tried
    worth = unbeaten(menu, np.flatnonzero(or_likeliest(menu, accepted)))
    return Judged(menu=menu, worth=worth, unlikely=not accepted.any())


def or_likeliest(menu: Menu, allowed: Flags) -> Flags:
    """The allowed rows; where there are none, those most likely to fit: a job that is refused is asked again."""
    allowed = allowed & ~menu.tried
    return allowed if allowed.any() else ~menu.tried & (menu.fit >= menu.fit.max())


def fastest_of_each_lot(menu: Menu, allowed: Flags) -> NDArray[np.intp]:
    """Of the allowed rows, for each family the one with the shortest median run time."""
    rows = np.flatnonzero(allowed)
    order = rows[np.lexsort((menu.layout_place[rows], menu.p50_s[rows], menu.family[rows]))]
    first = np.r_[True, menu.family[order][1:] != menu.family[order][:-1]] if len(order) else np.empty(0, dtype=bool)
    return order[first]


def unbeaten(menu: Menu, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of these rows, those that no other row of the same lot beats or equals in every respect.

    A bill rises with each quantile, with the start and with the chance of running out of memory, so a row that is
    beaten in all of them costs no less, whatever the price and the amount of work; of equals the plainest layout wins.
    """
    kept = []
    family = menu.family[rows]
    starts = np.flatnonzero(np.r_[True, family[1:] != family[:-1]]) if len(rows) else []
    for group in np.split(rows, starts[1:]) if len(rows) else []:
        worth = np.stack([
            menu.startup_s[group], menu.p10_s[group], menu.p50_s[group], menu.p90_s[group], -menu.fit[group],
        ])  # fmt: skip
        no_worse = (worth[:, :, None] <= worth[:, None, :]).all(axis=0)  # [a, b]: a is at least as good as b
        before = np.arange(len(group))[:, None] < np.arange(len(group))[None, :]
        beaten = (no_worse & (~no_worse.T | before)).any(axis=0)
        kept.append(group[~beaten])
    return np.concatenate(kept) if kept else rows


def concatenate(menus: Sequence[Menu]) -> Menu:
    """The rows of several menus, one after the other; what they call a question is their own."""
    return Menu(**{field.name: np.concatenate([getattr(one, field.name) for one in menus]) for field in fields(Menu)})


def certain(menu: Menu) -> Menu:
    """The same rows where memory is not at issue: it is known that the job runs on each of them."""
    yes = np.ones(len(menu), dtype=np.bool_)
    return replace(menu, fit=np.ones(len(menu)), accepted=yes, holds_weights=yes)


def _answered(outlook: CellOutlook, forecasts: Sequence[Forecast]) -> int:
    """Which of a cell's questions gave the forecast that counts."""
    return next(place for place in outlook.cell.questions if forecasts[place] is outlook.forecast)


def _ruled_out(outlook: CellOutlook) -> bool:
    return outlook.fit.probability == 0.0
