"""Stand in for a cloud GPU: the same command really runs on this host, but memory and time are drawn.

Whatever it reports is marked simulated for good; its resident memory and exit code are the stand-in's own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scheduler.domain.attempt import AttemptWork
from workers.backends.base import StartFailed
from workers.backends.draw import NothingToDraw, draw_truth
from workers.backends.local import basic_order
from workers.backends.supervised import Supervised
from workers.supervision.order import Order


def simulated_backend(data_path: Path, *, log_cap_bytes: int, seed: int, time_scale: float) -> Supervised:
    """Runs whose provider is drawn from a seed."""

    def order(work: AttemptWork) -> Order:
        try:
            truth = draw_truth(work, seed=seed, time_scale=time_scale)
        except NothingToDraw as reason:
            raise StartFailed(str(reason)) from reason
        return replace(basic_order(work, log_cap_bytes=log_cap_bytes), truth=truth)

    return Supervised(directory=data_path / "attempts" / "simulated", make_order=order, simulated=True)
