"""Read machines as they stand, and what was spent on what: sums of the ledger, for one tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from scheduler.domain.billing import By
from scheduler.domain.machines import MachineState
from scheduler.domain.states import Outcome
from scheduler.storage.engine import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """A machine as it stands."""

    id: UUID
    state: MachineState
    since: datetime
    """When it came into that state; when it was ordered, where that was not written down."""
    backend: str
    offer_id: UUID
    provider: str
    region: str
    gpu_type: str
    gpu_count: int
    spot: bool
    micros_per_gpu_hour: int
    job_id: UUID | None
    job: str | None
    attempt_id: UUID | None
    attempt: int | None
    """The number of the attempt that it is ordered for or busy with, among the tries of its job."""
    warm_until: datetime | None
    """Of an idle one: when it is let go, unless a job takes it first."""
    billed_micros: int
    """Booked so far; of what runs on it now nothing is yet."""
    requested_at: datetime
    ready_at: datetime | None
    reason: str | None
    simulated: bool


_MACHINES = text("""
SELECT m.id, m.state, m.backend, m.offer_id, m.provider, m.region, m.gpu_type, m.gpu_count, m.spot,
       m.micros_per_gpu_hour, a.job_id, j.name AS job, m.attempt_id, a.number AS attempt, m.billed_micros,
       m.requested_at, m.ready_at, m.reason, m.simulated,
       CASE WHEN m.state = 'idle' THEN m.keep_until END AS warm_until,
       coalesce(CASE m.state WHEN 'idle' THEN m.idle_at WHEN 'busy' THEN a.running_at WHEN 'ready' THEN m.ready_at END,
                m.requested_at) AS since
FROM machines m
LEFT JOIN attempts a ON a.id = m.attempt_id
LEFT JOIN jobs j ON j.id = a.job_id
WHERE m.tenant_id = :tenant_id AND m.state <> 'gone'
  AND (CAST(:before AS uuid) IS NULL OR m.id < :before)
ORDER BY m.id DESC LIMIT :limit
""")


def machines_now(session: Session, tenant_id: UUID, *, before: UUID | None, limit: int) -> list[MachineView]:
    """Machines that are not gone, the one ordered last first."""
    rows = session.execute(_MACHINES, {"tenant_id": tenant_id, "before": before, "limit": limit})
    return [MachineView(**{**row, "state": MachineState(row["state"])}) for row in rows.mappings()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The entries of the ledger that have something in common. What they do not all share is None; where they are
    added up by job or attempt, so are those of the sum of what nobody used."""

    key: str
    """Orders the sums; unique among them."""
    day: date | None = None
    job_id: UUID | None = None
    job: str | None = None
    attempt_id: UUID | None = None
    attempt: int | None = None
    outcome: Outcome | None = None
    machine_id: UUID | None = None
    provider: str | None = None
    region: str | None = None
    gpu_type: str | None = None
    gpu_count: int | None = None
    attempts: int
    """Uses of a machine by an attempt."""
    attempt_micros: int
    idle_micros: int
    billed_s: int
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """All that was booked in a period."""

    micros: int
    simulated_micros: int


_DAY = "(l.booked_at AT TIME ZONE 'UTC')::date"
_MACHINE = ("m.provider", "m.region", "m.gpu_type", "m.gpu_count")
_DIMENSIONS: Mapping[By, tuple[str, tuple[str, ...]]] = {
    By.DAY: (f"{_DAY}::text", (f"{_DAY} AS day",)),
    By.JOB: ("coalesce(l.job_id::text, '')", ("l.job_id", "j.name AS job")),
    By.ATTEMPT: (
        "coalesce(l.attempt_id::text, '')",
        ("l.job_id", "j.name AS job", "l.attempt_id", "a.number AS attempt", "a.outcome", *(
            f"CASE WHEN l.attempt_id IS NOT NULL THEN {name} END AS {name.removeprefix('m.')}" for name in _MACHINE
        )),
    ),
    By.GPU_TYPE: ("m.gpu_type", ("m.gpu_type",)),
    By.PROVIDER: ("m.provider", ("m.provider",)),
    By.MACHINE: ("l.machine_id::text", ("l.machine_id", *_MACHINE)),
}  # fmt: skip
"""By what: the key of each sum, and what its entries have in common."""

_ENTRIES = """
FROM ledger l
JOIN machines m ON m.id = l.machine_id
LEFT JOIN jobs j ON j.id = l.job_id
LEFT JOIN attempts a ON a.id = l.attempt_id
WHERE l.tenant_id = :tenant_id AND l.booked_at >= :since AND l.booked_at < :until
"""


def _sums(by: By) -> str:
    key, shared = _DIMENSIONS[by]
    own = [column.rpartition(" AS ")[0] or column for column in shared]
    return f"""
    SELECT * FROM (
      SELECT {key} || CASE WHEN m.simulated THEN '/simulated' ELSE '' END COLLATE "C" AS key, {", ".join(shared)},
             m.simulated, count(*) FILTER (WHERE l.kind = 'attempt') AS attempts,
             coalesce(sum(l.micros) FILTER (WHERE l.kind = 'attempt'), 0)::bigint AS attempt_micros,
             coalesce(sum(l.micros) FILTER (WHERE l.kind = 'idle'), 0)::bigint AS idle_micros,
             sum(l.billed_s)::bigint AS billed_s
      {_ENTRIES} GROUP BY {key}, {", ".join(own)}, m.simulated
    ) sums
    WHERE CAST(:before AS text) IS NULL OR key < :before COLLATE "C" ORDER BY key DESC LIMIT :limit
    """  # noqa: S608 - of words of ours


_SUMS = {by: text(_sums(by)) for by in By}
_TOTAL = text(
    "SELECT coalesce(sum(l.micros) FILTER (WHERE NOT m.simulated), 0)::bigint AS micros, "
    f"coalesce(sum(l.micros) FILTER (WHERE m.simulated), 0)::bigint AS simulated_micros {_ENTRIES}"
)


def spent(
    session: Session, tenant_id: UUID, by: By, *, since: datetime, until: datetime, before: str | None, limit: int
) -> list[Spent]:
    """Sums of what was booked in a period: days, jobs, attempts and machines the last first, names from z to a."""
    values = {"tenant_id": tenant_id, "since": since, "until": until, "before": before, "limit": limit}
    return [Spent(**_spent(row)) for row in session.execute(_SUMS[by], values).mappings()]


def total(session: Session, tenant_id: UUID, *, since: datetime, until: datetime) -> Total:
    """All of it."""
    row = session.execute(_TOTAL, {"tenant_id": tenant_id, "since": since, "until": until}).mappings().one()
    return Total(**row)


def _spent(row: Mapping[Any, Any]) -> dict[str, Any]:
    outcome = row.get("outcome")
    return {**row, "outcome": None if outcome is None else Outcome(outcome)}
