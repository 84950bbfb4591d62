"""Machines now and what was spent: whoever adds up the pages has the providers' bill, and nobody sees another's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.billing import By
from scheduler.domain.machines import Meter
from scheduler.domain.states import Outcome
from scheduler.services import attempts, pools
from scheduler.services.api_keys import make_key
from scheduler.services.import_offers import put_offers
from scheduler.services.tenants import add_tenant
from scheduler.storage.engine import Engine
from tests.support.api import World
from tests.support.offers import make_offer


class Site:
    """Two H100s that take a minute to come, at a dollar per GPU-hour, and tenants who use them."""

    def __init__(self, client: TestClient, engine: Engine, world: World, spec: Mapping[str, Any]) -> None:
        self.client, self.engine, self.world = client, engine, world
        self.spec = {**spec, "constraints": {"providers": ["warm"], "gpu_count": 1}}
        self.mine = {"Authorization": str(client.headers["Authorization"])}
        self.theirs = {"Authorization": f"Bearer {make_key(engine, add_tenant(engine, 'other').id, 'k')}"}
        offer = make_offer(
            "H100-SXM", 1.0, provider="warm", capacity_gpus=2, node_gpus=2, sold_gpus=(1, 2), provision_s=60.0
        )
        put_offers(engine, [offer])

    def starts(self, key: Mapping[str, str]) -> Any:
        """A job that runs on a machine."""
        job = self.client.post("/v1/jobs", json=self.spec, headers=key).json()
        assert job["state"] == "placed", job["decision"]["reason"]
        tried = self.client.get(f"/v1/jobs/{job['id']}/attempts", headers=key).json()["items"]
        attempt_id, now = UUID(tried[-1]["id"]), self.world.now
        work = attempts.claim(self.engine, attempt_id, now=now, lease_s=60)
        assert work is not None
        token = work.lease_token
        starting = attempts.mark_starting(self.engine, attempt_id, token, {}, now=now, next_poll_at=now)
        assert starting is not None
        assert attempts.mark_running(self.engine, attempt_id, token, {}, now=now, next_poll_at=now)
        return starting

    def runs(self, key: Mapping[str, str], *, waits_s: float = 0.0) -> None:
        """A job that ran for some seconds on a machine that had waited for it."""
        work = self.starts(key)
        begin = work.machine.metered_s + waits_s
        result = AttemptResult(outcome=Outcome.COMPLETED, meter=Meter(from_s=begin, to_s=begin + 70.0), simulated=False)
        attempts.finish(self.engine, work.attempt_id, result, now=self.world.now)
        self.gives_back()

    def gives_back(self, by: timedelta = timedelta()) -> None:
        """What a reconciler does with machines that are let go by now, a second later than they were used."""
        for leaving in pools.to_be_released(self.engine, "simulated", "", now=self.world.now + by):
            pools.close(self.engine, leaving.id, metered_s=leaving.metered_s + 1.0, now=self.world.now)

    def page(self, path: str, key: Mapping[str, str], **query: str | int) -> Any:
        answer = self.client.get(path, params=query, headers=key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sums(self, by: str, key: Mapping[str, str], limit: int = 3) -> list[Any]:
        """All sums, page by page."""
        found: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = self.page("/v1/billing", key, by=by, limit=limit, **after)
            found += page["items"]
            if page["next"] is None:
                return found
            after = {"after": page["next"]}

    def bill(self, tenant: str) -> Decimal:
        """What providers charge, by the machines' own counters."""
        query = "SELECT sum(m.billed_micros) FROM machines m JOIN tenants t ON t.id = m.tenant_id WHERE t.name = :t"
        with self.engine.connect() as connection:
            return Decimal(connection.execute(sa.text(query), {"t": tenant}).scalar_one()) / 1_000_000


@pytest.fixture
def site(client: TestClient, engine: Engine, world: World, spec: dict[str, Any]) -> Site:
    """Twelve jobs over three days, the last of each day on a warm machine; two of another tenant."""
    site = Site(client, engine, world, spec)
    for _ in range(3):
        for number in range(4):
            site.runs(site.mine, waits_s=3.0 * number)
            world.later(seconds=5)
        world.later(days=1)
        site.gives_back()
    site.runs(site.theirs)
    site.runs(site.theirs)
    site.gives_back(by=timedelta(days=1))
    world.later(seconds=1)
    return site


@pytest.mark.parametrize("by", By)
def test_all_sums_are_what_providers_charge(site: Site, by: By) -> None:
    for tenant, key in (("default", site.mine), ("other", site.theirs)):
        sums = site.sums(by, key)
        bill = site.bill(tenant)
        assert bill > 0
        assert sum(Decimal(one["usd"]) for one in sums) == bill
        assert sum(Decimal(one["attempts_usd"]) + Decimal(one["idle_usd"]) for one in sums) == bill
        assert Decimal(site.page("/v1/billing", key, by=by)["total_usd"]) == bill


def test_each_sum_is_of_what_was_asked_for(site: Site) -> None:
    assert [one["attempts"] for one in site.sums("day", site.mine) if one["attempts"]] == [4, 4, 4]
    jobs = site.sums("job", site.mine)
    assert [one["attempts"] for one in jobs] == [1] * 12 + [0]
    assert jobs[-1]["job_id"] is None  # what idled, by itself
    assert Decimal(jobs[-1]["idle_usd"]) == Decimal(jobs[-1]["usd"]) > 0
    tried = site.sums("attempt", site.mine)
    assert {(one["attempt"], one["outcome"], one["gpu_type"]) for one in tried[:-1]} == {(1, "completed", "H100-SXM")}
    assert [one["gpu_type"] for one in site.sums("gpu_type", site.mine)] == ["H100-SXM"]
    assert [one["provider"] for one in site.sums("provider", site.mine)] == ["warm"]


def test_a_period_holds_what_was_booked_in_it(site: Site) -> None:
    now = site.world.now
    day = {"since": (now - timedelta(hours=30)).isoformat(), "until": (now - timedelta(hours=10)).isoformat()}
    part = site.page("/v1/billing", site.mine, by="job", **day)
    assert sum(one["attempts"] for one in part["items"]) == 4
    assert 0 < Decimal(part["total_usd"]) < site.bill("default")
    assert (
        site.page("/v1/billing", site.mine, since="2030-01-01T00:00:00Z", until="2031-01-01T00:00:00Z")["items"] == []
    )


@pytest.mark.parametrize(
    "query",
    [{"by": "tenant"}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"limit": 0}, {"after": "x" * 401}],
)
def test_nonsense_is_refused(client: TestClient, query: dict[str, Any]) -> None:
    assert client.get("/v1/billing", params=query).status_code == 422


def test_position_that_nobody_gave_is_no_fault(client: TestClient) -> None:
    assert client.get("/v1/billing", params={"after": "'; DROP TABLE ledger; --"}).json()["items"] == []


def test_machines_say_for_whom_they_work(site: Site) -> None:
    assert site.page("/v1/pools", site.mine)["items"] == []
    first, second = site.starts(site.mine), site.starts(site.mine)
    page = site.page("/v1/pools", site.mine, limit=1)
    (one,) = page["items"]
    assert (one["id"], one["attempt_id"], one["job"]) == (str(second.machine.id), str(second.attempt_id), "lora")
    assert (one["state"], one["gpu_type"], one["usd_per_hour"], one["warm_until"]) == ("busy", "H100-SXM", "1.00", None)
    (other,) = site.page("/v1/pools", site.mine, after=page["next"])["items"]
    assert other["id"] == str(first.machine.id)
    assert site.page("/v1/pools", site.theirs)["items"] == []


def test_an_idle_machine_says_how_long_it_is_kept(site: Site) -> None:
    for _ in range(20):
        site.runs(site.mine)
        site.world.later(seconds=5)
    (one,) = [one for one in site.page("/v1/pools", site.mine)["items"] if one["state"] == "idle"]
    assert one["warm_until"] > one["since"]
    assert one["job_id"] is None
