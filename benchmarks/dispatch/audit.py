"""What must be true when everything has ended, of the database and of the provider, each asked by itself.

The provider's bill is reckoned here once more, from its own book and the price list, by other code than Pythia's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from pathlib import Path

import sqlalchemy as sa

from benchmarks.dispatch.rig import Rig
from workers.backends.simulated import Simulated
from workers.wiring import make_backends

WATCH = """
CREATE TABLE tally (offer_id uuid, held bigint, capacity bigint);
CREATE FUNCTION note_offer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO tally SELECT o.id, (SELECT coalesce(sum(gpu_count), 0) FROM reservations r
    WHERE r.offer_id = o.id AND r.released_at IS NULL), o.capacity_gpus FROM offers o WHERE o.id = NEW.id;
  RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER note_offer AFTER UPDATE ON offers DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_offer();
"""
"""Notes what is held of each offer at every commit."""

LEAKS = {
    "reservations open": "SELECT count(*) FROM reservations WHERE released_at IS NULL",
    "counters above zero": "SELECT count(*) FROM offers WHERE reserved_gpus <> 0",
    "cards open": "SELECT count(*) FROM cards WHERE closed_at IS NULL",
    "attempts not ended": "SELECT count(*) FROM attempts WHERE state <> 'ended'",
    "machines not gone": "SELECT count(*) FROM machines WHERE state <> 'gone'",
    "machines that do not add up": "SELECT count(*) FROM machine_costs WHERE off_by <> 0",
    "drawn machines billed as real": "SELECT count(*) FROM machines WHERE backend = 'simulated' AND NOT simulated",
    "attempts billed other than booked": """
        SELECT count(*) FROM attempts a WHERE coalesce(a.cost_micros, 0) <>
          (SELECT coalesce(sum(micros), 0) FROM ledger l WHERE l.attempt_id = a.id)""",
    "jobs that spent other than their attempts": """
        SELECT count(*) FROM jobs j WHERE spent_micros <>
          (SELECT coalesce(sum(cost_micros), 0) FROM attempts a WHERE a.job_id = j.id)""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found; all but `jobs` is to be 0."""

    jobs: int
    lost: int
    """Jobs that were taken and have not ended, or are not there; real commands that completed and never ran."""
    doubled: int
    """Attempts that began twice at the provider, or have other than one outcome."""
    leaked: int
    oversold: int
    ledger_difference_micros: int
    leaks: dict[str, int]

    @property
    def clean(self) -> bool:
        """Whether everything is as it must be."""
        found = asdict(self)
        return not any(found[name] for name in ("lost", "doubled", "leaked", "oversold", "ledger_difference_micros"))


def audit(rig: Rig, taken: list[str], ran: Path) -> Audit:
    """Look at everything once. `ran` holds what real commands left: a file for each attempt, a line each time."""
    backend = make_backends(rig.settings)["simulated"]
    assert isinstance(backend, Simulated)
    book = list(backend.book.entries())
    begun = Counter(attempt for entry in book for attempt in entry.uses)
    times = {path.name: len(path.read_text().splitlines()) for path in ran.iterdir()}
    leaks = {name: int(rig.scalar(query)) for name, query in LEAKS.items()}
    leaks["machines that the provider still has"] = len(backend.list())
    ended = rig.scalar("SELECT count(*) FROM jobs WHERE ended_at IS NOT NULL")
    outcomes = """SELECT count(*) FROM attempts a WHERE (SELECT count(*) FROM events e
        WHERE e.attempt_id = a.id AND e.kind = 'attempt_ended') <> 1"""
    return Audit(
        jobs=len(set(taken)),
        lost=abs(len(set(taken)) - int(ended))
        + abs(int(rig.scalar("SELECT count(*) FROM jobs")) - len(set(taken)))
        + len(_completed(rig) - times.keys()),
        doubled=sum(often - 1 for often in (*begun.values(), *times.values())) + int(rig.scalar(outcomes)),
        leaked=sum(leaks.values()),
        oversold=int(rig.scalar("SELECT count(*) FROM tally WHERE held > capacity"))
        + int(rig.scalar("SELECT count(*) FROM attempts WHERE reason LIKE '%quota of%'")),
        ledger_difference_micros=_difference(rig, {entry.key: entry.closed_s for entry in book}),
        leaks={name: count for name, count in leaks.items() if count},
    )


def _completed(rig: Rig) -> set[str]:
    """The attempts whose command was to be run for real and is said to have completed."""
    with rig.connected() as connection:
        rows = connection.execute(
            sa.text("""SELECT a.id FROM attempts a JOIN jobs j ON j.id = a.job_id
                       WHERE j.name = 'real' AND a.outcome = 'completed'""")
        )
        return {str(attempt_id) for attempt_id in rows.scalars()}


def _difference(rig: Rig, closed_s: dict[str, float | None]) -> int:
    """What our books and the provider's differ by, summed over machines so that nothing cancels out."""
    with rig.connected() as connection:
        rows = connection.execute(
            sa.text("""SELECT m.key, m.gpu_count, m.micros_per_gpu_hour AS price, m.billing_increment_s AS step,
                              m.minimum_s, coalesce(sum(l.micros), 0) AS booked
                       FROM machines m LEFT JOIN ledger l ON l.machine_id = m.id GROUP BY m.id""")
        ).all()
    difference = 0
    for row in rows:
        seconds = Decimal(repr(closed_s.pop(row.key, None) or 0.0))
        steps = (
            (max(seconds, Decimal(row.minimum_s)) / Decimal(row.step)).to_integral_value(ROUND_CEILING)
            if seconds > 0
            else Decimal(0)
        )
        owed = (steps * row.step * row.gpu_count * row.price / 3600).to_integral_value(ROUND_HALF_EVEN)
        difference += abs(int(owed) - int(row.booked))
    # a machine that nobody here knows and that ran is owed in full; there is no price to say how much
    return difference + sum(1_000_000 for seconds in closed_s.values() if seconds)
