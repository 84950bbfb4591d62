"""A host's worker is heard, and holds its name or ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from scheduler.clock import CommonClock
from scheduler.services import hosts
from workers.backends.local import registration
from workers.backends.this_host import NAME
from workers.host import HostHeart
from workers.wiring import utc_now

LEASE_S = 60.0


def heart_of(engine: sa.Engine, data_path: Path, ended: list[str]) -> HostHeart:
    account, formerly = registration(data_path, "ubuntu")
    return HostHeart(
        engine=engine, name="ubuntu", account=account, formerly=formerly, lease_s=LEASE_S, clock=utc_now,
        end=lambda: ended.append(account),
    )  # fmt: skip


def test_a_second_host_in_the_default_set_up_is_refused_the_name(engine: sa.Engine, tmp_path: Path) -> None:
    heart_of(engine, tmp_path, []).register()
    heart_of(engine, tmp_path, []).register()  # its worker, started again
    (tmp_path / NAME).unlink()  # what another machine with the same paths would find
    with pytest.raises(hosts.HostNameTaken, match="another host is called 'ubuntu'"):
        heart_of(engine, tmp_path, []).register()


def test_a_worker_whose_hosts_name_was_taken_meanwhile_ends(engine: sa.Engine, tmp_path: Path) -> None:
    ended: list[str] = []
    first = heart_of(engine, tmp_path, ended)
    first.register()
    first.beat()
    assert ended == []
    replace(first, account="ubuntu:/elsewhere#2", lease_s=0).register()  # after a silence
    first.beat()
    assert ended == [first.account]


@pytest.mark.parametrize("off", [timedelta(minutes=-5), timedelta(minutes=5)])
def test_a_host_whose_clock_is_off_is_heard_all_the_same(engine: sa.Engine, off: timedelta) -> None:
    heart = HostHeart(
        engine=engine, name="alpha", account="alpha:/data#1", formerly="alpha:/data", lease_s=LEASE_S,
        clock=CommonClock(engine, lambda: utc_now() + off),
    )  # fmt: skip
    for sign_of_life in (heart.register, heart.beat):
        sign_of_life()
        assert hosts.miss(engine, now=utc_now(), silent_after_s=LEASE_S).fell_silent == ()
        # nor does it live on for longer than others
        assert hosts.miss(engine, now=utc_now() + timedelta(minutes=2), silent_after_s=LEASE_S).fell_silent == (
            "alpha",
        )
