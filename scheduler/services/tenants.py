"""Tenants: made, listed, given shares, quotas and keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from scheduler.domain.fair_share import Tenancy
from scheduler.services.api_keys import make_key
from scheduler.storage import tenants
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.views import TenantView

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantAndUse:
    """A tenant, and what counts against its share and quotas now."""

    tenant: TenantView
    use: Tenancy


def add_tenant(engine: Engine, name: str, **quotas: Any) -> TenantView:
    """Make a tenant: `share`, `max_gpus`, `max_micros_per_month` and `share_cards` where given.

    Conflict where the name is taken.
    """
    with transaction(engine) as session:
        made = tenants.add(session, name, **quotas)
    log.info("made a tenant", tenant_id=str(made.id), name=name)
    return made


def list_tenants(engine: Engine, *, now: datetime) -> list[TenantAndUse]:
    """Every tenant with what it holds and has spent."""
    with reading(engine) as session:
        found = tenants.all_of(session)
        use = tenants.standings(session, [tenant.id for tenant in found], now)
    return [TenantAndUse(tenant=tenant, use=use[tenant.id]) for tenant in found]


def change_tenant(engine: Engine, name: str, changes: Mapping[str, Any]) -> TenantView:
    """Set share, quotas and `share_cards`; None lifts a quota. NotFound where there is no such tenant."""
    with transaction(engine) as session:
        tenant = tenants.find(session, name)
        changed = tenants.change(session, tenant.id, **changes)
    log.info("changed a tenant", tenant_id=str(tenant.id), **changes)
    return changed


def make_tenant_key(engine: Engine, name: str, key_name: str) -> str:
    """Make a key of a tenant and return it, the only time it can be seen."""
    with reading(engine) as session:
        tenant = tenants.find(session, name)
    return make_key(engine, tenant.id, key_name)
