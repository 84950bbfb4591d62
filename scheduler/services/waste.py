"""What this installation paid for and did not use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from predictor.errors import UnknownGpuType
from predictor.hardware import GpuCatalogue
from scheduler.domain.errors import InvalidSpec, NotFound
from scheduler.economics.waste import Waste, find_waste
from scheduler.storage import tenants, waste
from scheduler.storage.engine import Engine, reading

LOOKED_BACK = timedelta(days=30)
"""Unless somebody says since when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WasteReport:
    """What was asked, and what was found."""

    since: datetime
    until: datetime
    tenant: str | None
    """None: all of them."""
    simulated: bool
    waste: Waste


def waste_of_tenant(
    engine: Engine,
    gpus: GpuCatalogue,
    tenant_id: UUID,
    *,
    name: str | None,
    since: datetime,
    now: datetime,
    simulated: bool,
) -> WasteReport:
    """A tenant's own; NotFound where the name asked for is not its own, whether there is such a tenant or not."""
    with reading(engine) as session:
        own = next(one.name for one in tenants.all_of(session) if one.id == tenant_id)
    if name not in (None, own):
        raise NotFound("tenant", repr(name))
    return _report(engine, gpus, tenant_id, own, since, now, simulated)


def waste_of_all(engine: Engine, gpus: GpuCatalogue, *, since: datetime, now: datetime, simulated: bool) -> WasteReport:
    """That of every tenant: for who runs the installation."""
    return _report(engine, gpus, None, None, since, now, simulated)


def _report(
    engine: Engine,
    gpus: GpuCatalogue,
    tenant_id: UUID | None,
    name: str | None,
    since: datetime,
    now: datetime,
    simulated: bool,
) -> WasteReport:
    if since >= now:
        raise InvalidSpec(f"since is {since.isoformat()}, which is not in the past")
    with reading(engine) as session:
        used = waste.uses(session, since=since, until=now, simulated=simulated, tenant_id=tenant_id)
        idle = waste.idle(session, since=since, until=now, simulated=simulated, tenant_id=tenant_id)
    known = [replace(one, usable_gib=_usable_gib(gpus, one.gpu_type)) for one in idle]
    return WasteReport(since=since, until=now, tenant=name, simulated=simulated, waste=find_waste(used, known))


def _usable_gib(gpus: GpuCatalogue, name: str) -> float | None:
    """Of the smallest card that a name means; None for one that has left the catalogue since, or has no memory."""
    try:
        variants = gpus.variants(name)
    except UnknownGpuType:
        return None
    return min((one.usable_gib for one in variants if one.usable_gib is not None), default=None)
