"""What machines cost: every way to cut a machine's time into uses adds up to its provider's bill."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.machines import MACHINE_MOVES, MachineState, Tariff, states_before
from tests.scheduler.domain.test_keeping import tariffs


@given(tariff=tariffs, cuts=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=12))
def test_uses_and_idle_times_add_up_to_the_bill(tariff: Tariff, cuts: list[float]) -> None:
    readings = [0.0, *sorted(cuts)]
    bills = [tariff.charge(before, after) for before, after in pairwise(readings)]
    whole = tariff.charged(readings[-1])
    assert sum(bill.cost_micros for bill in bills) == whole.cost_micros
    assert sum(bill.billed_s for bill in bills) == whole.billed_s
    assert all(bill.cost_micros >= 0 for bill in bills)


def test_whoever_begins_an_hour_pays_for_it_and_whoever_finds_it_paid_does_not() -> None:
    hourly = Tariff(gpu_count=2, micros_per_gpu_hour=1_000_000, billing_increment_s=3600, minimum_s=0)
    costs = [hourly.charge(*use).cost_micros for use in ((0.0, 600.0), (600.0, 3000.0), (3000.0, 4000.0))]
    assert costs == [2_000_000, 0, 2_000_000]


def test_a_machine_that_is_gone_stays_gone_and_every_other_can_be_let_go() -> None:
    assert MACHINE_MOVES[MachineState.GONE] == frozenset()
    for state in MachineState:
        if state not in (MachineState.GONE, MachineState.RELEASING):
            assert state in states_before(MachineState.RELEASING)
