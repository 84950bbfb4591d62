"""However badly a server answers, whoever asked it is told within the lease of a look."""

from __future__ import annotations

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.backends.base import ProviderUnavailable
from workers.backends.kubernetes.patience import CONNECT_S, LAST_TRY_S, TIMEOUT_S, asked
from workers.runner import LOOK_LEASE_S

LONGEST_TRY_S = 2 * CONNECT_S + 2 * TIMEOUT_S


class Silent:
    """A server that lets each try wait for so long, and does not answer."""

    def __init__(self, *waits_s: float) -> None:
        self.now = self.last_try_at = 0.0
        self.waits_s = list(waits_s)

    def clock(self) -> float:
        return self.now

    def rest(self, rest_s: float) -> None:
        self.now += rest_s

    def call(self) -> None:
        self.last_try_at = self.now
        self.now += self.waits_s.pop(0)
        raise httpx2.ConnectTimeout("timed out")

    def left(self) -> int:
        """How many more tries it was ready for when it was given up."""
        with pytest.raises(ProviderUnavailable, match="the cluster cannot be reached: timed out"):
            asked(self.call, clock=self.clock, rest=self.rest)
        return len(self.waits_s)


def test_a_failure_that_takes_no_time_is_tried_three_times() -> None:
    assert Silent(0.0, 0.0, 0.0, 0.0).left() == 1


def test_where_nobody_answers_there_is_no_time_for_a_third_try() -> None:
    server = Silent(TIMEOUT_S, TIMEOUT_S, TIMEOUT_S)
    assert server.left() == 1
    assert server.now < LOOK_LEASE_S / 2


def test_a_try_that_has_used_up_the_time_is_the_last() -> None:
    assert Silent(LONGEST_TRY_S, 0.0, 0.0).left() == 2


@given(st.tuples(*[st.floats(0, LONGEST_TRY_S)] * 3))
def test_a_call_is_over_within_the_lease_of_a_look(waits_s: tuple[float, ...]) -> None:
    server = Silent(*waits_s)
    server.left()
    assert server.last_try_at <= LAST_TRY_S
    assert server.now < LOOK_LEASE_S
