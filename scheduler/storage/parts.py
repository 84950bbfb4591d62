"""The months that decisions and candidates are parted by: made ahead, and dropped by policy.

A month is a range of ids, which begin with the time of their making. What lies in no month goes to the part
`…_default`; what there was before months were made is `…_first`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from scheduler.storage.engine import Session

TABLES = {"candidate_rows": "candidates", "decisions": "decisions"}
"""What the parts of each are called. Those that refer to others first: so they are dropped. Rows of candidates are from
before they were documents of their decisions; no more months of them are made."""

_NAME = re.compile(r"decisions_(\d{4})_(\d{2})")


def first_id(moment: datetime) -> UUID:
    """The lowest id that can be made from a moment on: its milliseconds, and nothing after them (`ids.new_id`)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def month_of(moment: datetime) -> datetime:
    """The first moment of a month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The first moment of the month behind this one."""
    return month_of(month + timedelta(days=32))


def alone(session: Session) -> bool:
    """Whether nobody else makes or drops months now; held until the transaction ends."""
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(7020774836219402291)")).scalar_one())


def names(session: Session) -> set[str]:
    """The parts of all parted tables."""
    query = """
        SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        JOIN pg_class parent ON parent.oid = inhparent
        WHERE parent.relname = ANY(:tables) AND child.relkind = 'r'
    """
    return set(session.execute(text(query), {"tables": list(TABLES)}).scalars())


def make(session: Session, month: datetime) -> None:
    """Make a month's part; it must not be there yet."""
    low, high = first_id(month), first_id(next_month(month))
    # names and ids are made here, of digits alone: nothing of a user's is in them
    part = f"decisions_{month:%Y_%m}"
    session.execute(text(f"CREATE TABLE {part} PARTITION OF decisions FOR VALUES FROM ('{low}') TO ('{high}')"))


def covered_until(session: Session) -> UUID:
    """The first id behind `…_first`: no month before it can be made."""
    query = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'decisions_first'"
    bound = session.execute(text(query)).scalar_one_or_none()
    found = re.search(r"TO \('([0-9a-f-]{36})'\)", bound or "")
    return UUID(found[1]) if found else UUID(int=0)


def months(session: Session) -> list[datetime]:
    """The months that were made, first to last."""
    found = (_NAME.fullmatch(name) for name in names(session))
    return sorted(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC) for match in found if match)


def is_needed(session: Session, month: datetime) -> bool:
    """Whether a job that has not ended was decided in a month: its record stays."""
    query = f"""
        SELECT EXISTS (SELECT FROM decisions_{month:%Y_%m} d JOIN jobs j ON j.id = d.job_id WHERE j.ended_at IS NULL)
    """  # noqa: S608 - a year and a month
    return bool(session.execute(text(query)).scalar_one())


def drop(session: Session, month: datetime) -> int:
    """Drop a month of decisions with their candidates; how many decisions."""
    many = session.execute(text(f"SELECT count(*) FROM decisions_{month:%Y_%m}")).scalar_one()  # noqa: S608 - as above
    there = names(session)
    low, high = first_id(month), first_id(next_month(month))
    for table, called in TABLES.items():
        part = f"{called}_{month:%Y_%m}"
        if part not in there:  # what was written with no part for it lies in the default one
            session.execute(text(f"DELETE FROM {table} WHERE decision_id >= '{low}' AND decision_id < '{high}'"))  # noqa: S608
            continue
        session.execute(text(f"ALTER TABLE {table} DETACH PARTITION {part}"))
        session.execute(text(f"DROP TABLE {part}"))
    return int(many)
