"""A fleet of equal replicas under a stream of requests, event by event, with continuous batching.

A replica serves up to B sequences at once. With n of them in flight it serves R(n) mean requests a second, as the
forecast says, shared evenly: processor sharing with a rate that depends on the load, followed in virtual time (each
sequence gets R(n)/n done in a second, and ends when it has got its own work done). Who finds no place waits, first
come, first served. Dedicated replicas stand all day. Others are started when more requests wait than there are places
on their way, serve when they are warm, and go when they have been empty for the idle time-out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Replicas that come when they are needed."""

    most: int
    """At once, beside the dedicated ones."""
    cold_s: float
    """From the request for one until it serves."""
    idle_s: float
    """That an empty one stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRun:
    """What became of the requests and of the replicas; arrays in the order of arrival."""

    dedicated: int
    cold_s: float
    wait_s: Floats
    """From a request's arrival until it has a place."""
    in_flight: Ints
    """Sequences on its replica once it is there, itself among them."""
    last_answer_s: float
    busy_s: float
    """Replica-seconds with any sequence in flight."""
    slots: Ints
    """Of each life of an elastic replica, which one it was: the lower ones are filled first."""
    asked_s: Floats
    """When it was asked for."""
    gone_s: Floats
    """When it went; it serves from `asked_s + cold_s`."""

    @property
    def cold_starts(self) -> int:
        """Replicas that were started."""
        return len(self.slots)


def simulate(
    arrival_s: Floats, work: Floats, rates: Floats, *, dedicated: int, elastic: Elastic | None = None
) -> FleetRun:
    """Serve all requests.

    `arrival_s`: ascending, seconds, one a request. `work`: in mean requests, above zero. `rates`: mean requests a
    second of a replica with 0, 1, 2, … B sequences in flight; the first is zero. Raises ValueError where these are not
    so, or there is no replica.
    """
    from scheduler.economics.fleet_loop import run  # noqa: PLC0415 - seconds to import, and not every question needs it

    _check(arrival_s, work, rates)
    beside = elastic or Elastic(most=0, cold_s=0.0, idle_s=0.0)
    if dedicated < 0 or beside.most < 0 or dedicated + beside.most < 1:
        raise ValueError("a fleet has at least one replica")
    if beside.cold_s < 0 or beside.idle_s < 0:
        raise ValueError("neither a start nor an idle time-out is shorter than nothing")
    speed = np.zeros(len(rates))
    speed[1:] = rates[1:] / np.arange(1, len(rates))
    wait_s, in_flight = np.empty(len(arrival_s)), np.empty(len(arrival_s), np.int64)
    served, last_answer_s, busy_s, lives = run(
        np.ascontiguousarray(arrival_s, np.float64), np.ascontiguousarray(work, np.float64), speed, dedicated,
        dedicated + beside.most, float(beside.cold_s), float(beside.idle_s), wait_s, in_flight,
    )  # fmt: skip
    if served != len(arrival_s):
        raise RuntimeError(f"{served} of {len(arrival_s)} requests were served")
    return FleetRun(
        dedicated=dedicated, cold_s=beside.cold_s, wait_s=wait_s, in_flight=in_flight,
        last_answer_s=float(last_answer_s), busy_s=float(busy_s), slots=lives[:, 0].astype(np.int64),
        asked_s=lives[:, 1], gone_s=lives[:, 2],
    )  # fmt: skip


def _check(arrival_s: Floats, work: Floats, rates: Floats) -> None:
    if len(arrival_s) != len(work):
        raise ValueError(f"{len(arrival_s)} arrivals, but the work of {len(work)}")
    if len(arrival_s) and not (
        np.isfinite(arrival_s).all() and (arrival_s[1:] >= arrival_s[:-1]).all() and arrival_s[0] >= 0
    ):
        raise ValueError("arrivals are seconds from zero on, in ascending order")
    if not (np.isfinite(work).all() and (work > 0).all()):
        raise ValueError("every request is some work")
    if len(rates) < 2 or rates[0] != 0 or not (np.isfinite(rates).all() and (rates[1:] > 0).all()):
        raise ValueError("rates are those of 0, 1, 2, … sequences in flight: zero, then above zero")
