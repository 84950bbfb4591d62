"""The choice between money and time: every placement that nothing else beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from predictor.forecast import Forecast
from scheduler.domain.candidates import Proposals
from scheduler.domain.decision import Judged
from scheduler.domain.foresight import Foresight
from scheduler.domain.joins import with_joins
from scheduler.domain.listing import judged
from scheduler.domain.outlook import look_at
from scheduler.domain.room import OPEN, Room
from scheduler.domain.spec import JobSpec, Objective
from scheduler.domain.table import tabulate
from scheduler.domain.verdicts import FEASIBLE, Code, Verdict


def find_pareto(
    spec: JobSpec,
    proposals: Proposals,
    forecasts: Foresight | Sequence[Forecast],
    *,
    now: datetime,
    room: Room = OPEN,
) -> tuple[Judged, ...]:
    """Of all that would do now, from the cheapest to the soonest: each is sooner than all that are cheaper.

    Cost is the expected cost, time the median from the order to the end of the work; ties are broken as in a decision.
    """
    outlook = look_at(proposals, forecasts, spec.constraints, ())
    table = tabulate(proposals, outlook, spec, now=now, spent_micros=0, room=room)
    table = with_joins(table, outlook, spec, now=now, spent_micros=0, room=room)
    feasible = np.flatnonzero(table.nearness == FEASIBLE)
    order = feasible[np.lexsort(tuple(key[feasible] for key in reversed(table.keys(Objective.COST))))]
    time = table.costs.use_p50_s[order]
    soonest_so_far = np.minimum.accumulate(np.append(np.inf, time))[:-1]
    verdict = Verdict(Code.CHOSEN, None, "nothing is both cheaper and sooner")
    return tuple(judged(outlook, table, row, verdict) for row in order[time < soonest_so_far].tolist())
