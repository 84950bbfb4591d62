"""Place many waiting jobs at once: which job on which offer costs least in all, within every capacity.

One by one, the first job takes the cheapest offer although the next has no other, and pays more in all. Here every
job's options are columns of one generalised assignment problem (Martello and Toth, Knapsack Problems, 1990, chapter
7): each job takes one column, no limit is passed, the sum of the costs is least. Its linear relaxation leaves at most
as many jobs divided as there are limits (a basic solution has no more positive columns than rows), so HiGHS solves the
relaxation, the undivided jobs keep what it gave them, and a small integer programme settles the others together with
the jobs that lose least by moving. The relaxation's value is a lower bound, hence the gap. Whatever goes wrong, the
one-by-one solution is still there, and nothing dearer than it is ever returned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csc_matrix

from scheduler.domain.quantiles import Floats, Ints

OPENED = (40, 60, 90, 135)
"""How many undivided jobs the integer programme may move, in turn until a solution is near enough to the bound. The
fewer the faster, and the likelier that the limits leave the others no solution."""

_WHOLE = 1e-6
_ROUNDING = 1e-9
"""A solver's value may be above the true one by its tolerance; a bound may not."""


class Method(StrEnum):
    """What found the solution."""

    MILP = "milp"
    GREEDY = "greedy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Columns in the order of their jobs; each uses some of some limits."""

    job: Ints
    """The job of each column, from 0, ascending; every job has at least one."""
    cost: Ints
    """Micro-dollars of each column."""
    use_column: Ints
    use_limit: Ints
    use_amount: Ints
    """A column uses this much of a limit: three arrays of equal length."""
    limit: Ints
    """How much of each there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One column for each job."""

    columns: Ints
    cost_micros: int
    bound_micros: int
    """No assignment costs less."""
    method: Method

    @property
    def gap(self) -> float:
        """By which share of its cost the assignment may be above the best there is."""
        return 0.0 if self.cost_micros <= 0 else max(0.0, 1 - self.bound_micros / self.cost_micros)


def assign(problem: Problem, greedy: Ints, *, seconds: float, gap: float = 0.005) -> Assignment:
    """The cheapest assignment found within about `seconds` of solving; `greedy` is one that keeps all limits.

    Search ends at this gap between what was found and the bound. The time is a limit on each call of the solver (most
    of it is the relaxation's), so that all of them together may take longer, though they hardly ever do.
    """
    cost_of_greedy = int(problem.cost[greedy].sum())
    cheapest = np.full(len(greedy), np.iinfo(np.int64).max)
    np.minimum.at(cheapest, problem.job, problem.cost)
    fallback = Assignment(
        columns=greedy, cost_micros=cost_of_greedy, bound_micros=int(cheapest.sum()), method=Method.GREEDY
    )
    if fallback.bound_micros == cost_of_greedy:
        return fallback
    matrix = _Matrix(problem)
    relaxed = matrix.relax(0.6 * seconds)
    if relaxed is None:
        return fallback
    bound = max(fallback.bound_micros, math.ceil(relaxed.value * (1 - _ROUNDING)))
    best = replace(fallback, bound_micros=bound)
    for opened in OPENED:
        columns = matrix.settle(relaxed, opened, 0.3 * seconds, gap * bound)
        if columns is None or not matrix.keeps_limits(columns):
            continue
        found = int(problem.cost[columns].sum())
        if found < best.cost_micros:
            best = Assignment(columns=columns, cost_micros=found, bound_micros=bound, method=Method.MILP)
        if best.gap <= gap:
            break
    return best


@dataclass(frozen=True, slots=True)
class _Relaxed:
    share: Floats
    """How much of its job each column has."""
    reduced: Floats
    """What each column costs above the prices that the limits have."""
    value: float


class _Matrix:
    """The problem as HiGHS reads it: a row for each job, then one for each limit."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.jobs, self.limits = int(problem.job[-1]) + 1, len(problem.limit)
        columns = np.arange(len(problem.job))
        self.choose = csc_matrix(
            (np.ones(len(columns)), (problem.job, columns)), shape=(self.jobs, len(columns))
        )  # fmt: skip
        self.use = csc_matrix(
            (problem.use_amount.astype(np.float64), (problem.use_limit, problem.use_column)),
            shape=(self.limits, len(columns)),
        )
        self.cost = problem.cost.astype(np.float64)

    def relax(self, seconds: float) -> _Relaxed | None:
        """The linear relaxation with its prices; None where it was not solved in time."""
        solved: Any = linprog(
            self.cost, A_ub=self.use, b_ub=self.problem.limit, A_eq=self.choose, b_eq=np.ones(self.jobs),
            bounds=(0, 1), method="highs-ds", options={"time_limit": seconds},
        )  # fmt: skip
        if solved.status != 0:
            return None
        prices = self.choose.T @ solved.eqlin.marginals + self.use.T @ solved.ineqlin.marginals
        return _Relaxed(share=solved.x, reduced=self.cost - prices, value=float(solved.fun))

    def settle(self, relaxed: _Relaxed, opened: int, seconds: float, slack: float) -> Ints | None:
        """Keep what the relaxation gave whole to a job, except for the `opened` jobs that lose least by moving."""
        job = self.problem.job
        whole = np.flatnonzero(relaxed.share > 1 - _WHOLE)
        given = np.full(self.jobs, -1)
        given[job[whole]] = whole
        regret = self._regret(relaxed, given)
        free = np.zeros(self.jobs, dtype=np.bool_)
        free[given < 0] = True
        free[np.argsort(regret, kind="stable")[: opened + int(free.sum())]] = True
        fixed = given[~free]
        left = self.problem.limit - self.use[:, fixed].sum(axis=1).A1 if len(fixed) else self.problem.limit
        columns = np.flatnonzero(free[job])
        places = np.cumsum(free) - 1
        chosen = csc_matrix(
            (np.ones(len(columns)), (places[job[columns]], np.arange(len(columns)))),
            shape=(int(free.sum()), len(columns)),
        )
        base = float(self.cost[fixed].sum())
        solved: Any = milp(
            self.cost[columns],
            constraints=[
                LinearConstraint(chosen, 1, 1),
                LinearConstraint(self.use[:, columns], -np.inf, left),
            ],
            integrality=np.ones(len(columns)),
            bounds=Bounds(0, 1),
            # the gap is meant of the whole cost, of which this part is a small one
            options={"time_limit": seconds, "mip_rel_gap": min(0.5, slack / max(relaxed.value - base, slack, 1.0))},
        )
        if solved.x is None:
            return None
        result = given.copy()
        taken = columns[solved.x > 0.5]
        result[job[taken]] = taken
        return result if (np.bincount(job[taken], minlength=self.jobs)[free] == 1).all() else None

    def _regret(self, relaxed: _Relaxed, given: Ints) -> Floats:
        """What each job would lose by its second choice at the limits' prices; -1 for a divided one."""
        second = np.full(self.jobs, np.inf)
        others = np.ones(len(self.problem.job), dtype=np.bool_)
        others[given[given >= 0]] = False
        np.minimum.at(second, self.problem.job[others], relaxed.reduced[others])
        return np.where(given < 0, -1.0, second)

    def keeps_limits(self, columns: Ints) -> bool:
        """Checked in whole numbers: a solver's tolerance is not ours."""
        problem = self.problem
        taken = np.zeros(len(problem.job), dtype=np.bool_)
        taken[columns] = True
        mine = taken[problem.use_column]
        used = np.zeros(self.limits, dtype=np.int64)
        np.add.at(used, problem.use_limit[mine], problem.use_amount[mine])
        within: NDArray[np.bool_] = used <= problem.limit
        return bool(within.all())
