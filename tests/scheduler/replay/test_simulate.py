"""A replay ends every job once, oversells nothing, and pays what can be reckoned by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from scheduler.domain.cost import OOM_SHARE
from scheduler.domain.money import billed_seconds, cost_micros
from scheduler.domain.offers import Offer
from scheduler.replay.attempts import Journal
from scheduler.replay.figures import measure, timeline
from scheduler.replay.market import Holdings
from scheduler.replay.policies import CATALOGUE, ORACLE, POLICIES, PYTHIA, USER, Policy
from scheduler.replay.run import compare, entries_of
from scheduler.replay.simulate import replay
from scheduler.replay.world import World
from tests.scheduler.replay.worlds import make_trace, modelled, random_trace
from tests.support.offers import make_offer

NAMES = [one.name for one in POLICIES]


@cache
def crowded() -> World:
    """More work than there are GPUs."""
    return modelled(random_trace(3, 300, span_s=20_000.0), seed=3)


@cache
def roomy() -> World:
    """The same kinds of jobs on offers without end, and no deadlines."""
    world = modelled(random_trace(5, 200), unlimited=True, seed=5)
    return replace(world, jobs=replace(world.jobs, deadline_s=np.full(len(world.jobs), np.inf)))


def costs(world: World, policy: Policy) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """What each job cost in all."""
    return timeline(world, replay(world, policy).columns()).cost_micros


def one_card(count: int = 1) -> list[Offer]:
    return [make_offer("A100-80GB-SXM", 2.0, capacity_gpus=count, provision_s=100.0, sold_gpus=(1,), node_gpus=1)]


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_every_job_ends_once_and_its_attempts_follow_each_other(policy: Policy) -> None:
    world = crowded()
    journal = replay(world, policy)
    attempts = defaultdict(list)
    for attempt in journal.attempts:
        attempts[attempt.job].append(attempt)
    assert sorted(attempts) == list(range(len(world.jobs)))
    for job, made in attempts.items():
        assert [one.completed for one in made] == [False] * (len(made) - 1) + [True]
        assert made[0].placed_s >= world.jobs.submit_s[job]
        for before, after in pairwise(made):
            assert after.placed_s >= before.placed_s + before.used_s


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_no_offer_ever_holds_more_than_its_capacity(policy: Policy) -> None:
    world = crowded()
    changes = defaultdict(list)
    for attempt in replay(world, policy).attempts:
        changes[attempt.offer].append((attempt.placed_s, attempt.gpu_count))
        changes[attempt.offer].append((attempt.placed_s + attempt.used_s, -attempt.gpu_count))
    for offer, moves in changes.items():
        held = np.cumsum([gpus for _, gpus in sorted(moves)])  # at one moment what is given back comes first
        assert held.max() <= world.market.stock.offers[offer].capacity_gpus
        assert held[-1] == 0


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_every_bill_is_that_of_the_domain(policy: Policy) -> None:
    world = crowded()
    for one in replay(world, policy).attempts:
        offer = world.market.stock.offers[one.offer]
        seconds = billed_seconds(one.used_s, increment_s=offer.billing_increment_s, minimum_s=offer.minimum_s)
        assert one.billed_s == seconds
        assert offer.on_demand_micros_per_gpu_hour is not None
        assert one.cost_micros == cost_micros(offer.on_demand_micros_per_gpu_hour, one.gpu_count, seconds)


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_the_oracle_never_pays_more_for_a_job_than_another_policy(policy: Policy) -> None:
    world = roomy()
    # a bill is rounded to a micro-dollar, a choice is not
    assert (costs(world, ORACLE) <= costs(world, policy) + 1).all()


def test_the_oracle_meets_every_deadline_that_can_be_met() -> None:
    world = modelled(random_trace(5, 200), unlimited=True, seed=5)
    missed = timeline(world, replay(world, ORACLE).columns()).missed
    for policy in POLICIES:
        others = timeline(world, replay(world, policy).columns()).missed
        assert not (missed & ~others).any()


def test_the_oracle_runs_out_of_memory_never() -> None:
    assert all(one.completed for one in replay(crowded(), ORACLE).attempts)


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_equal_seeds_give_equal_replays_and_others_do_not(policy: Policy) -> None:
    trace = random_trace(11, 80)
    first, again, other = (replay(modelled(trace, seed=seed), policy).attempts for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_user_alone_on_the_reference_card_runs_as_long_as_the_trace_says() -> None:
    world = modelled(make_trace([(0.0, 1, 7200.0)]), offers=one_card(), seed=1)
    (attempt,) = [one for one in replay(world, USER).attempts if one.completed]
    assert attempt.run_s == pytest.approx(7200.0)
    menu = world.classes[int(world.jobs.kind[0])].menu
    assert attempt.used_s == pytest.approx(100.0 + menu.startup_s[attempt.row] + 7200.0)


def test_jobs_wait_for_the_one_card_in_the_order_of_submission() -> None:
    world = modelled(make_trace([(0.0, 1, 1000.0), (1.0, 1, 50.0), (2.0, 1, 5.0)]), offers=one_card(), seed=4)
    world = replace(world, jobs=replace(world.jobs, need_level=np.zeros(3)))
    made = replay(world, USER).attempts
    assert [one.job for one in made] == [0, 1, 2]
    for before, after in pairwise(made):
        assert after.placed_s == before.placed_s + before.used_s


def test_a_second_card_lets_a_job_start_at_once() -> None:
    world = modelled(make_trace([(0.0, 1, 1000.0), (1.0, 1, 50.0)]), offers=one_card(2), seed=4)
    assert [one.placed_s for one in replay(world, USER).attempts if one.completed][:2] == [0.0, 1.0]


def test_a_crash_costs_its_share_and_the_job_goes_somewhere_roomier() -> None:
    world = crowded()
    journal = replay(world, CATALOGUE)
    crashed = [one for one in journal.attempts if not one.completed]
    assert crashed
    for one in crashed:
        kind = int(world.jobs.kind[one.job])
        menu = world.classes[kind].menu
        assert one.run_s == pytest.approx(OOM_SHARE * world.run_s(kind, one.job, one.row))
        later = next(two for two in journal.attempts if two.job == one.job and two.placed_s > one.placed_s)
        assert menu.headroom[later.row] > menu.headroom[one.row]


def test_what_a_crash_leads_to_does_not_depend_on_the_policy() -> None:
    world = roomy()
    next_row: dict[tuple[int, int], int] = {}
    seen = 0
    for policy in POLICIES:
        attempts = replay(world, policy).attempts
        first_try = {one.job: one for one in reversed(attempts)}
        for job, first in first_try.items():
            if first.completed:
                continue
            second = [one for one in attempts if one.job == job][1]
            assert next_row.setdefault((job, first.row), second.row) == second.row
            seen += 1
    assert seen > 0


def test_a_job_whose_deadline_nothing_meets_is_asked_again_without_it() -> None:
    world = modelled(make_trace([(0.0, 1, 3600.0)]), unlimited=True)
    hopeless = replace(world, jobs=replace(world.jobs, deadline_s=np.array([1.0])))
    journal = replay(hopeless, PYTHIA)
    assert journal.late == {0}
    figures = measure(hopeless, policy="pythia", says="", journal=journal, oracle_micros=None)
    assert (figures.deadlines, figures.deadlines_missed, figures.asked_without_deadline) == (1, 1, 1)


def test_a_job_waits_for_what_is_in_time_until_that_is_too_late() -> None:
    fast = make_offer("H100-SXM", 5.0, capacity_gpus=1, sold_gpus=(1,), node_gpus=1)
    slow = make_offer("A100-80GB-SXM", 1.0, capacity_gpus=9, sold_gpus=(1,), node_gpus=9)
    world = modelled(make_trace([(0.0, 1, 9000.0), (1.0, 1, 9000.0)]), offers=[fast, slow], seed=4)
    needed = np.empty(2)
    for job in range(2):
        judged = world.classes[int(world.jobs.kind[job])].after()
        on_fast = world.market.of_type("H100")[judged.terms]
        finish = judged.before_s + world.jobs.work[job] * judged.asked_s
        needed[job] = finish[on_fast].min()
        assert finish[~on_fast].min() > 1.05 * needed[job]
    jobs = replace(world.jobs, need_level=np.zeros(2), deadline_s=world.jobs.submit_s + 1.05 * needed)
    journal = replay(replace(world, jobs=jobs), PYTHIA)
    first, second = journal.attempts
    assert first.placed_s == 0.0
    # as long as the one fast card could still be in time the job waits for it; then it takes what is free
    assert second.placed_s == pytest.approx(1.0 + 0.05 * needed[1], abs=0.01)
    assert world.market.stock.offers[second.offer].gpu_type == "A100-80GB-SXM"
    assert journal.late == {1}


def test_figures_add_up() -> None:
    world = crowded()
    oracle = int(costs(world, ORACLE).sum())
    for policy in POLICIES:
        journal = replay(world, policy)
        figures = measure(world, policy=policy.name, says="", journal=journal, oracle_micros=oracle)
        total = sum(one.cost_micros for one in journal.attempts)
        assert int(figures.total_usd * 1_000_000) == total
        assert sum(figures.usd_by_gpu_type.values()) == figures.total_usd
        assert sum(figures.usd_by_price_month.values()) == figures.total_usd
        assert figures.regret == pytest.approx(total / oracle - 1)
        billed = sum(one.billed_s * one.gpu_count for one in journal.attempts) / 3600
        assert figures.wasted_gpu_hours == pytest.approx(billed * (1 - figures.utilisation))
        assert figures.out_of_memory == sum(not one.completed for one in journal.attempts)
        assert figures.wasted_gib_hours is not None
        assert figures.wasted_gib_hours >= 0


def test_a_job_without_an_end_is_noticed() -> None:
    world = modelled(make_trace([(0.0, 1, 60.0)]), unlimited=True)
    with pytest.raises(AssertionError, match="1 jobs, but 0 ends"):
        timeline(world, Journal().columns())


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
@pytest.mark.parametrize("world", [crowded, roomy], ids=["crowded", "roomy"])
def test_choosing_ahead_of_time_changes_nothing(
    world: Callable[[], World], policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = replay(world(), policy).attempts
    monkeypatch.setattr(Holdings, "is_cheapest", lambda self, terms: False)  # nothing foretold ever stands
    assert replay(world(), policy).attempts == ahead


def test_a_crash_that_costs_more_than_machines_is_made_less_often() -> None:
    careless = roomy()
    careful = replace(careless, crash_micros=1_000_000_000)
    crashes = [sum(not one.completed for one in replay(world, PYTHIA).attempts) for world in (careless, careful)]
    assert crashes[1] < crashes[0]


def test_policies_played_side_by_side_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = entries_of(crowded())
    one_by_one = compare(entries)
    monkeypatch.setattr("scheduler.replay.run.SIDE_BY_SIDE", 1)
    together = compare(entries)
    assert together.figures == one_by_one.figures
    assert all((together.waits[name] == one_by_one.waits[name]).all() for name in NAMES)
