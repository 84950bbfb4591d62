"""What a job could run on if everything were free: one option for each offer and GPU count, the best layout each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np

from scheduler.domain.arrays import Flags, Ints
from scheduler.domain.candidates import Proposals
from scheduler.domain.table import Table
from scheduler.domain.verdicts import FEASIBLE, NEARNESS, Code

_ONLY_FOR_NOW = [NEARNESS[code] for code in (Code.CAPACITY, Code.KEPT, Code.QUOTA, Code.QUOTA_SPEND)]


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


def options_of(proposals: Proposals, table: Table, order: Ints) -> Options:
    """The options of a table of every candidate, `order` ranking its cells: what only the moment speaks against."""
    ranked = order[possible(table)[order]]
    # the sale, not the lot: on demand and interruptible are two prices of the same GPUs
    sale = table.tie[ranked] * (int(table.gpu_count.max(initial=0)) + 1) + table.gpu_count[ranked]
    _, firsts = np.unique(sale, return_index=True)
    rows = ranked[np.sort(firsts)]
    offers, costs = proposals.inventory.stock.offers, table.costs
    columns = (
        table.tie,
        table.gpu_count,
        costs.expected_micros,
        costs.try_p90_micros,
        costs.use_p50_s,
        costs.use_p90_s,
    )
    return Options(
        tuple(
            Option(offers[place].id, offers[place].gpu_type, *figures)
            for place, *figures in zip(*(column[rows].tolist() for column in columns), strict=True)
        )
    )


def possible(table: Table) -> Flags:
    """Candidates that are feasible, or would be at another time."""
    waits: Flags = np.isin(table.nearness, _ONLY_FOR_NOW) & table.later
    now: Flags = table.nearness == FEASIBLE
    return now | waits
