"""Keep secrets for jobs, hand them out to workers, and never to anybody else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import structlog

from scheduler.domain.errors import NotFound
from scheduler.domain.secrets import UnknownSecret, check_secret
from scheduler.domain.spec import JobSpec
from scheduler.services.vault import Vault
from scheduler.storage import secrets
from scheduler.storage.engine import Engine, at_once, transaction
from scheduler.storage.secrets import SecretView

log = structlog.get_logger(__name__)


def put_secret(engine: Engine, vault: Vault, tenant_id: UUID, name: str, value: str, *, now: datetime) -> SecretView:
    """Store a value under a name; one that is there is replaced. InvalidSecret and SecretsUnavailable say why not."""
    check_secret(name, value)
    sealed = vault.seal(tenant_id, name, value)
    with transaction(engine) as session:
        stored = secrets.put(session, tenant_id, name, sealed, now)
    log.info("stored secret", tenant_id=str(tenant_id), name=name)
    return stored


def list_secrets(engine: Engine, tenant_id: UUID, *, after: str = "", limit: int = 100) -> list[SecretView]:
    """Names, in their order; the last of a page is `after` of the next."""
    with at_once(engine) as session:
        return secrets.page(session, tenant_id, after=after, limit=limit)


def get_secret(engine: Engine, tenant_id: UUID, name: str) -> SecretView:
    """That it is there and since when, or NotFound."""
    with at_once(engine) as session:
        found = secrets.get(session, tenant_id, name)
    if found is None:
        raise NotFound("secret", name)
    return found


def delete_secret(engine: Engine, tenant_id: UUID, name: str) -> None:
    """Delete a secret, or NotFound. Jobs that ask for it and have not begun will fail."""
    with transaction(engine) as session:
        gone = secrets.remove(session, tenant_id, name)
    if not gone:
        raise NotFound("secret", name)
    log.info("deleted secret", tenant_id=str(tenant_id), name=name)


def check_secrets(engine: Engine, tenant_id: UUID, spec: JobSpec) -> None:
    """UnknownSecret for the first secret that a job asks for and its tenant has not stored."""
    wanted = {} if spec.run is None else spec.run.secrets
    if not wanted:
        return
    with at_once(engine) as session:
        stored = secrets.sealed(session, tenant_id, list(wanted.values()))
    for name in wanted.values():
        if name not in stored:
            raise UnknownSecret(name)


def open_secrets(engine: Engine, vault: Vault, tenant_id: UUID, wanted: Mapping[str, str]) -> dict[str, str]:
    """The values of some secrets by the names of the variables that they are wanted in."""
    if not wanted:
        return {}
    with at_once(engine) as session:
        stored = secrets.sealed(session, tenant_id, list(wanted.values()))
    for name in wanted.values():
        if name not in stored:
            raise UnknownSecret(name)
    return {variable: vault.open(tenant_id, name, stored[name]) for variable, name in wanted.items()}


def seal_all_anew(engine: Engine, vault: Vault) -> int:
    """Seal every secret with the first key; how many. What is set meanwhile waits for a moment."""
    with transaction(engine) as session:
        rows = secrets.lock_all(session)
        for tenant_id, name, sealed in rows:
            value = vault.open(tenant_id, name, sealed)
            secrets.seal_anew(session, tenant_id, name, vault.seal(tenant_id, name, value))
    return len(rows)
