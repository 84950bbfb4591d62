"""The simulation against queueing theory, and what must hold for every fleet.

Tolerances: the mean of a queue's waits over N requests has a standard error of about its own size times
sqrt(2 × correlation length / N), the length some 1 / (1 - load)² requests: below 1.5 % for a million at loads up to
0.85, so 5 % is three of them; the seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.economics import fleet_loop
from scheduler.economics.fleet_simulation import Elastic, FleetRun, Floats, simulate

ONE_AT_A_TIME = np.array([0.0, 1.0])
"""A replica that serves one request a second and holds no second one."""
REQUESTS = 1_000_000


def poisson(load: float, servers: int, requests: int = REQUESTS) -> Floats:
    return np.cumsum(np.random.default_rng(11).exponential(1.0 / (load * servers), requests))


def exponential(requests: int = REQUESTS) -> Floats:
    return np.random.default_rng(12).exponential(1.0, requests)


def utilisation(run: FleetRun) -> float:
    return run.busy_s / (run.dedicated * run.last_answer_s)


def erlang_c(servers: int, load: float) -> float:
    """P(a request waits) in M/M/c (Erlang 1917): by the recursion of the loss formula, with `load` per server."""
    offered, blocked = servers * load, 1.0
    for busy in range(1, servers + 1):
        blocked = offered * blocked / (busy + offered * blocked)
    return blocked / (1.0 - load * (1.0 - blocked))


def wait_of_mdc(servers: int, load: float, most: int = 400) -> float:
    """Mean wait in M/D/c with service of 1 s, from the stationary law of the number present (Crommelin 1932).

    After one service time all who were served are gone, and as many as came in it are there beside those who waited:
    n' = max(n - c, 0) + Poisson(c × load). Little's law turns the mean number who wait into the mean wait.
    """
    rate = servers * load
    came = np.exp([-rate + count * math.log(rate) - math.lgamma(count + 1) for count in range(most)])
    move = np.zeros((most, most))
    for present in range(most):
        left = max(present - servers, 0)
        move[present, left:] = came[: most - left]
    move[:, -1] += 1.0 - move.sum(axis=1)
    system = move.T - np.eye(most)
    system[-1] = 1.0
    law = np.linalg.solve(system, np.eye(most)[-1])
    return float(law @ np.maximum(np.arange(most) - servers, 0)) / rate


@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_one_server_of_constant_work_is_m_d_1(load: float) -> None:
    run = simulate(poisson(load, 1), np.ones(REQUESTS), ONE_AT_A_TIME, dedicated=1)
    assert utilisation(run) == pytest.approx(load, rel=0.05)
    assert run.wait_s.mean() == pytest.approx(load / (2 * (1 - load)), rel=0.05)  # Pollaczek and Khinchine


def test_the_exact_law_agrees_with_the_formula_for_one_server() -> None:
    assert wait_of_mdc(1, 0.6) == pytest.approx(0.6 / 0.8, rel=1e-6)


@pytest.mark.parametrize(("servers", "load"), [(2, 0.6), (4, 0.8), (10, 0.85)])
def test_several_servers_of_constant_work_are_m_d_c(servers: int, load: float) -> None:
    run = simulate(poisson(load, servers), np.ones(REQUESTS), ONE_AT_A_TIME, dedicated=servers)
    assert utilisation(run) == pytest.approx(load, rel=0.05)
    assert run.wait_s.mean() == pytest.approx(wait_of_mdc(servers, load), rel=0.05)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (3, 0.7), (12, 0.85)])
def test_exponential_work_is_m_m_c(servers: int, load: float) -> None:
    run = simulate(poisson(load, servers), exponential(), ONE_AT_A_TIME, dedicated=servers)
    waits = erlang_c(servers, load)
    assert utilisation(run) == pytest.approx(load, rel=0.05)
    assert (run.wait_s > 0).mean() == pytest.approx(waits, rel=0.05)
    assert run.wait_s.mean() == pytest.approx(waits / (servers * (1 - load)), rel=0.05)


def test_sharing_one_processor_is_as_long_for_any_work_of_the_same_mean() -> None:
    # M/G/1-PS: the number present is geometric with the load, whatever the work (Kleinrock 1967); who comes sees it
    shared = np.concatenate([[0.0], np.ones(200)])
    for work in (np.ones(REQUESTS), exponential()):
        run = simulate(poisson(0.7, 1), work, shared, dedicated=1)
        assert run.in_flight.mean() == pytest.approx(1 + 0.7 / 0.3, rel=0.05)


@pytest.mark.parametrize("held", [1, 3, 8])
def test_with_n_always_in_flight_it_serves_what_the_ladder_says(held: int) -> None:
    rates = np.array([0.0, 1.0, 1.8, 2.4, 2.9, 3.3, 3.6, 3.8, 3.9])[: held + 1]
    requests = 40_000
    run = simulate(np.zeros(requests), exponential(requests), rates, dedicated=1)
    # each answer lets the next in: `held` are in flight all the time but for the last few
    assert requests / run.last_answer_s == pytest.approx(rates[held], rel=0.02)
    assert (run.in_flight[held:] == held).all()


def test_a_start_a_wait_and_an_end_by_hand() -> None:
    # two places, 10 s cold, 5 s of patience; each alone does 1 a second, two together 0.75 each
    run = simulate(
        np.array([0.0, 0.0, 30.0]), np.array([1.5, 3.0, 1.0]), np.array([0.0, 1.0, 1.5]), dedicated=0,
        elastic=Elastic(most=4, cold_s=10.0, idle_s=5.0),
    )  # fmt: skip
    # from 10 both run at 0.75: the first ends at 12, the other has 1.5 left and ends at 13.5; gone at 18.5
    # the third is asked a new one at 30, served from 40 to 41, gone at 46
    assert run.wait_s.tolist() == [10.0, 10.0, 10.0]
    assert run.in_flight.tolist() == [1, 2, 1]
    assert run.asked_s.tolist() == [0.0, 30.0]
    assert run.gone_s.tolist() == pytest.approx([18.5, 46.0])
    assert run.busy_s == pytest.approx(4.5)


def test_replicas_beside_the_dedicated_come_only_for_those_who_wait() -> None:
    rates = np.array([0.0, 1.0, 1.5])
    few = simulate(
        np.array([0.0, 0.1]), np.ones(2), rates, dedicated=1, elastic=Elastic(most=3, cold_s=1.0, idle_s=9.0)
    )
    more = simulate(
        np.array([0.0, 0.1, 0.2]), np.ones(3), rates, dedicated=1, elastic=Elastic(most=3, cold_s=1.0, idle_s=9.0)
    )
    assert (few.cold_starts, more.cold_starts) == (0, 1)


TIMES = st.lists(st.floats(0, 50), min_size=1, max_size=60).map(lambda times: np.array(sorted(times)))


@settings(max_examples=60, deadline=None)
@given(TIMES, st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.floats(0, 20), st.floats(0, 20), st.data())
def test_every_request_is_served_once_and_every_second_is_in_a_life(
    times: Floats, dedicated: int, most: int, places: int, cold_s: float, idle_s: float, data: st.DataObject
) -> None:
    work = np.array(data.draw(st.lists(st.floats(0.01, 5), min_size=len(times), max_size=len(times))))
    rates = np.cumsum([0.0, *(1.0 / n for n in range(1, places + 1))])
    run = simulate(times, work, rates, dedicated=dedicated, elastic=Elastic(most=most, cold_s=cold_s, idle_s=idle_s))
    assert (run.wait_s >= 0).all()
    assert ((run.in_flight >= 1) & (run.in_flight <= places)).all()
    assert (np.diff(times + run.wait_s) >= -1e-9).all()  # first come, first served
    warm = run.gone_s - run.asked_s - run.cold_s
    assert (warm >= idle_s - 1e-6).all()
    # what is done is done in lives: neither more than they hold at full speed, nor less than with one in flight
    assert run.busy_s * rates[-1] >= work.sum() * (1 - 1e-9)
    assert run.busy_s * rates[1] <= work.sum() * (1 + 1e-9) + 1e-6
    assert run.busy_s <= dedicated * run.last_answer_s + (warm - idle_s).sum() + 1e-6
    for slot in set(run.slots.tolist()):  # a replica has one life at a time
        mine = run.slots == slot
        assert (run.asked_s[mine][1:] >= run.gone_s[mine][:-1]).all()


@settings(max_examples=60, deadline=None)
@given(TIMES, st.integers(1, 5), st.data())
def test_one_more_dedicated_replica_never_makes_anyone_wait_longer(
    times: Floats, dedicated: int, data: st.DataObject
) -> None:
    """First come, first served, one at a time: starts are the c-th latest end before, which one more only advances."""
    work = np.array(data.draw(st.lists(st.floats(0.01, 5), min_size=len(times), max_size=len(times))))
    fewer, more = (simulate(times, work, ONE_AT_A_TIME, dedicated=count) for count in (dedicated, dedicated + 1))
    assert (more.wait_s <= fewer.wait_s + 1e-9).all()


@pytest.mark.parametrize(
    ("times", "work", "rates", "dedicated"),
    [
        ([1.0, 0.0], [1.0, 1.0], [0.0, 1.0], 1),
        ([0.0], [1.0, 1.0], [0.0, 1.0], 1),
        ([0.0], [0.0], [0.0, 1.0], 1),
        ([math.nan], [1.0], [0.0, 1.0], 1),
        ([0.0], [1.0], [0.0, 0.0], 1),
        ([0.0], [1.0], [0.0], 1),
        ([0.0], [1.0], [0.0, 1.0], 0),
    ],
)
def test_what_is_no_fleet_is_refused(times: list[float], work: list[float], rates: list[float], dedicated: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own sentence, all are the caller's slip
        simulate(np.array(times), np.array(work), np.array(rates), dedicated=dedicated)


def test_where_no_folder_can_be_written_it_is_compiled_without_being_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(*, nogil: bool, cache: bool = False) -> Callable[[Any], Any]:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, nogil)

    monkeypatch.setattr(fleet_loop, "njit", njit)
    made: Any = fleet_loop.compiled(abs)
    assert made == (abs, True)
