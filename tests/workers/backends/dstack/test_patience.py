"""A call has one time limit for all of its tries, whatever takes how long, and a run's request a shorter one than it is
valid for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest

from workers.backends.base import ProviderUnavailable
from workers.backends.dstack import server as module
from workers.backends.dstack.server import APPLY_S, CALL_S, Server
from workers.backends.dstack.task import HELD_UP


@dataclass
class SlowNetwork(httpx.BaseTransport):
    """Every try takes a share of all the time that it is given, and comes to nothing; no real time goes by."""

    share: float
    now_s: float = 100.0
    given_s: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        limits = request.extensions["timeout"]
        assert None not in limits.values(), "each has a limit"
        self.given_s.append(sum(limits.values()))
        self.now_s += self.share * self.given_s[-1]
        raise httpx.ReadTimeout("nothing came")


@pytest.fixture(params=[0.0, 0.3, 0.5, 0.85, 1.0])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SlowNetwork:
    made = SlowNetwork(request.param)
    monkeypatch.setattr(module, "time", made)
    return made


def took_s(network: SlowNetwork, call: Callable[[Server], object]) -> float:
    client = httpx.Client(transport=network, base_url="http://dstack")
    began_s = network.now_s
    with pytest.raises(ProviderUnavailable, match="nothing came"):
        call(Server(client, "main", lambda: datetime.now(UTC)))
    return network.now_s - began_s


def test_a_call_ends_in_its_time_however_long_each_try_takes(network: SlowNetwork) -> None:
    assert took_s(network, lambda server: server.run("pythia-x")) <= CALL_S + 1e-6
    assert len(network.given_s) == {0.0: 3, 0.3: 3, 0.5: 3, 0.85: 2, 1.0: 1}[network.share]


def test_a_request_for_a_run_is_given_up_long_before_it_is_too_late_for_one(network: SlowNetwork) -> None:
    assert took_s(network, lambda server: server.apply({})) <= APPLY_S + 1e-6
    assert len(network.given_s) == 1, "whoever asks once more looks first"
    assert HELD_UP.total_seconds() >= 2 * (APPLY_S + CALL_S)
