"""Fixtures for every folder of tests: a fresh, migrated database on each server, and each broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from hypothesis import settings as hypothesis_settings

from scheduler.settings import Settings
from tests.support.brokers import BROKERS, broker_settings
from tests.support.postgres import SERVERS, PostgresServer, running_server
from tests.support.slurm import Cluster, missing, running_cluster

# a property says what holds, never how fast: the machines that run it are shared
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")


@pytest.fixture(scope="session")
def embedded_postgres_server() -> Iterator[PostgresServer]:
    """The embedded server alone, for tests in which the server's version says nothing."""
    with running_server("embedded") as server:
        yield server


@pytest.fixture(scope="session", params=SERVERS)
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Each PostgreSQL server in turn."""
    if request.param == "embedded":
        yield request.getfixturevalue("embedded_postgres_server")
        return
    with running_server(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Cluster]:
    """A Slurm cluster of this machine, which takes some seconds to come up."""
    if reason := missing():
        pytest.skip(reason)
    # not pytest's own folder: a socket's path is short
    with TemporaryDirectory(prefix="slurm-") as folder, running_cluster(Path(folder)) as cluster:
        yield cluster


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database at the newest schema."""
    with postgres_server.migrated_database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without any tables."""
    with postgres_server.empty_database() as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on a fresh database at the newest schema."""
    engine = sa.create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(params=BROKERS)
def settings(request: pytest.FixtureRequest, database_url: str) -> Iterator[Settings]:
    """An installation on a fresh database, with each broker in turn."""
    with broker_settings(request.param, database_url) as settings:
        yield settings
