"""What a job could run on if everything were free: one option for each offer and GPU count, the best layout each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.candidates import Proposals
from scheduler.domain.table import FEASIBLE, Table
from scheduler.domain.verdicts import NEARNESS, Code

_ONLY_FOR_NOW = (NEARNESS[Code.CAPACITY], NEARNESS[Code.QUOTA], NEARNESS[Code.QUOTA_SPEND])


class Option(NamedTuple):
    """GPUs of one offer, and what the job would take there."""

    offer_id: UUID
    gpu_type: str
    gpu_count: int
    expected_micros: int
    p90_micros: int
    use_p50_s: float
    use_p90_s: float


@dataclass(frozen=True, slots=True)
class Options:
    """A job's options, the best first by its own objective."""

    ranked: tuple[Option, ...]


def options_of(proposals: Proposals, table: Table, order: NDArray[np.int64]) -> Options:
    """The options of a judged table, `order` ranking its cells: all that nothing speaks against but the moment."""
    ranked = order[_possible(table)[order]]
    _, firsts = np.unique(table.lot[ranked], return_index=True)
    return Options(tuple(_option(proposals, table, int(ranked[first])) for first in np.sort(firsts)))


def _possible(table: Table) -> NDArray[np.bool_]:
    """Candidates that are feasible, or would be at another time."""
    for_now: NDArray[np.bool_] = np.isin(table.nearness, _ONLY_FOR_NOW)
    possible: NDArray[np.bool_] = (table.nearness == FEASIBLE) | (for_now & table.later)
    return possible


def _option(proposals: Proposals, table: Table, row: int) -> Option:
    lot, costs = proposals.lots[table.lot[row]], table.costs
    return Option(
        offer_id=lot.offer.id,
        gpu_type=lot.offer.gpu_type,
        gpu_count=lot.gpu_count,
        expected_micros=int(costs.expected_micros[row]),
        p90_micros=int(costs.p90_micros[row]),
        use_p50_s=float(costs.use_p50_s[row]),
        use_p90_s=float(costs.use_p90_s[row]),
    )
