"""Count what there is, for those who watch."""

from __future__ import annotations

from datetime import datetime

from scheduler.storage import gauges
from scheduler.storage.engine import Engine, reading
from scheduler.storage.gauges import Gauges


def count_all(engine: Engine, *, now: datetime) -> Gauges:
    """Everything in one consistent snapshot."""
    with reading(engine) as session:
        return gauges.read(session, now)
