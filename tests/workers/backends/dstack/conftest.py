"""A dstack server that answers over HTTP, and the backend as a worker has it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from scheduler.settings import Settings
from tests.support.bad_days import TOKEN
from tests.support.fake_dstack import FakeDstack
from tests.support.fake_dstack_server import FakeServer, serving
from workers.backends.dstack.backend import Dstack


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving(FakeDstack()) as made:
        yield made


@pytest.fixture
def cloud(fake: FakeServer) -> FakeDstack:
    return fake.dstack


@pytest.fixture
def live(fake: FakeServer, cloud: FakeDstack) -> Dstack:
    return Dstack(settings=settings_of(fake), clock=cloud.now)


@pytest.fixture
def still(cloud: FakeDstack) -> None:
    """Time goes on only where a test says so."""
    cloud.stands_at = datetime.now(UTC).replace(microsecond=0)


def settings_of(fake: FakeServer) -> Settings:
    return Settings(dstack_url=fake.url, dstack_token=TOKEN, log_cap_bytes=2000)
