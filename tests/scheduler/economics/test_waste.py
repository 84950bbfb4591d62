"""Bills taken apart, for any bill."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.states import Outcome
from scheduler.economics.waste import MOST_JOBS, Better, Idle, Use, find_waste

BETTER = st.builds(
    Better, gpu_type=st.just("A10"), gpu_count=st.integers(1, 8), provider=st.just("acme"),
    micros=st.integers(0, 10**9), before_s=st.floats(0, 1e4), run_s=st.floats(0.1, 1e5),
)  # fmt: skip
USES = st.builds(
    Use, tenant=st.sampled_from("ab"), user=st.sampled_from(("x", None)), job_id=st.integers(0, 30).map(
        lambda number: UUID(int=number)
    ), job=st.just("j"), gpu_type=st.sampled_from(("L40S", "H100-SXM")), gpu_count=st.integers(1, 8),
    outcome=st.sampled_from(Outcome), micros=st.integers(0, 10**9), billed_s=st.integers(0, 10**5),
    runtime_s=st.none() | st.floats(0, 2e5), usable_gib=st.none() | st.floats(1, 200),
    peak_gib=st.none() | st.floats(0, 300), better=st.none() | BETTER,
)  # fmt: skip
IDLE = st.builds(
    Idle, tenant=st.sampled_from("ab"), gpu_type=st.just("L40S"), gpu_count=st.integers(1, 8),
    micros=st.integers(0, 10**9), billed_s=st.integers(0, 10**5), usable_gib=st.none() | st.floats(1, 200),
)  # fmt: skip


@given(st.lists(USES, max_size=40), st.lists(IDLE, max_size=5))
def test_no_dollar_is_of_no_use_twice_and_all_groups_add_up(uses: list[Use], idle: list[Idle]) -> None:
    waste = find_waste(uses, idle)
    assert 0 <= waste.total.micros <= waste.total.paid_micros
    assert waste.total.gpu_hours <= waste.total.paid_gpu_hours * (1 + 1e-9)
    assert sum(sums.micros for _, sums in waste.by_cause) == waste.total.micros
    for groups in (waste.by_tenant, waste.by_user, waste.by_gpu_type):
        assert sum(sums.micros for _, sums in groups) == waste.total.micros
        assert sum(sums.paid_micros for _, sums in groups) == waste.total.paid_micros
        assert sum(sums.gpu_hours for _, sums in groups) == pytest.approx(waste.total.gpu_hours)
    wasted = [job.sums.micros for job in waste.jobs]
    assert wasted == sorted(wasted, reverse=True)
    assert len(wasted) <= MOST_JOBS


def test_nothing_was_paid_for_nothing() -> None:
    assert find_waste([], []).total.paid_micros == 0
