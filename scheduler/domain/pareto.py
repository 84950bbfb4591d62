"""The choice between money and time: every placement that nothing else beats in both."""

from __future__ import annotations

import numpy as np

from scheduler.domain.decision import Judged
from scheduler.domain.listing import judged
from scheduler.domain.outlook import Outlook
from scheduler.domain.spec import Objective
from scheduler.domain.table import Table
from scheduler.domain.verdicts import FEASIBLE, Code, Verdict


def pareto(outlook: Outlook, table: Table) -> tuple[Judged, ...]:
    """From the cheapest to the soonest finished, each sooner than all that are cheaper; ties as in a decision."""
    feasible = np.flatnonzero(table.nearness == FEASIBLE)
    keys = tuple(key[feasible] for key in reversed(table.keys(Objective.COST)))
    order = feasible[np.lexsort(keys)]
    time = table.costs.use_p50_s[order]
    sooner = time < np.r_[np.inf, np.minimum.accumulate(time)[:-1]] if len(order) else np.empty(0, dtype=np.bool_)
    rows = order[sooner].tolist()
    verdict = Verdict(Code.CHOSEN, None, "no placement is both cheaper and sooner")
    return tuple(judged(outlook, table, row, verdict) for row in rows)
