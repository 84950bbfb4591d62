"""Keys are made once, shown once and kept as digests."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from scheduler.domain.errors import Unauthorized
from scheduler.services.api_keys import REVOKED_WITHIN_S, KnownKeys, authenticate, ensure_default_key, make_key
from scheduler.storage.tables import DEFAULT_TENANT


def test_the_first_key_is_made_once(engine: sa.Engine) -> None:
    key = ensure_default_key(engine)
    assert key is not None
    assert ensure_default_key(engine) is None
    assert authenticate(engine, key) == DEFAULT_TENANT


def test_a_key_is_nowhere_in_the_database(engine: sa.Engine) -> None:
    key = make_key(engine, DEFAULT_TENANT, "mine")
    with engine.connect() as connection:
        row = connection.execute(sa.text("SELECT * FROM api_keys")).one()
    assert key not in str(row)


@pytest.mark.parametrize("key", [None, "", "pythia_wrong"])
def test_any_other_key_is_refused(engine: sa.Engine, key: str | None) -> None:
    ensure_default_key(engine)
    with pytest.raises(Unauthorized):
        authenticate(engine, key)


def test_a_revoked_key_is_refused(engine: sa.Engine) -> None:
    key = make_key(engine, DEFAULT_TENANT, "mine")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET revoked_at = now()")
    with pytest.raises(Unauthorized):
        authenticate(engine, key)


def test_a_revoked_key_opens_nothing_a_moment_later(engine: sa.Engine) -> None:
    now = 100.0
    keys = KnownKeys(clock=lambda: now)
    key = make_key(engine, DEFAULT_TENANT, "mine")
    assert keys.tenant_of(key) is None
    assert keys.look_up(engine, key) == keys.tenant_of(key) == DEFAULT_TENANT
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET revoked_at = now()")
    now += REVOKED_WITHIN_S
    assert keys.tenant_of(key) is None
    with pytest.raises(Unauthorized):
        keys.look_up(engine, key)
    assert keys.tenant_of(key) is None


def test_a_wrong_key_is_never_known(engine: sa.Engine) -> None:
    keys = KnownKeys()
    for _ in range(2):
        with pytest.raises(Unauthorized):
            keys.look_up(engine, "pythia_wrong")
        assert keys.tenant_of("pythia_wrong") is None
