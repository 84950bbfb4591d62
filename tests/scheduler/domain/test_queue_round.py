"""A round keeps capacity, quotas and the reserved start, and never costs more than one by one."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.backfill import Release, Shelf, predicted_starts
from scheduler.domain.fair_share import Tenancy, in_standing_order
from scheduler.domain.options import Option
from scheduler.domain.queue_round import Waiting, arrange, record
from scheduler.domain.room import Headroom

TENANTS = (UUID(int=1), UUID(int=2))


def option(offer: int, gpus: int, cost: int = 100, seconds: float = 100.0) -> Option:
    return Option(UUID(int=offer), f"type-{offer}", gpus, cost, cost, seconds, seconds)


def waiting(
    number: int, *options: Option, tenant: UUID = TENANTS[0], priority: int = 50, moves: bool = True
) -> Waiting:
    return Waiting(job_id=UUID(int=number), tenant_id=tenant, priority=priority, options=options, free_to_move=moves)


@dataclass(frozen=True)
class Scene:
    shelves: dict[UUID, Shelf]
    queue: list[Waiting]
    headroom: dict[UUID, Headroom]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    offers = range(100, 100 + draw(st.integers(1, 3)))
    releases = st.builds(Release, st.floats(1, 500), st.integers(1, 4))
    shelves = {UUID(int=o): Shelf(draw(st.integers(0, 8)), draw(st.lists(releases, max_size=4))) for o in offers}
    options = st.builds(
        option, st.sampled_from(list(offers)), st.sampled_from([1, 2, 4, 8]), st.integers(1, 1000), st.floats(1, 600)
    )
    queue = [
        waiting(
            number, *sorted(draw(st.lists(options, min_size=1, max_size=4)), key=lambda o: o.expected_micros),
            tenant=draw(st.sampled_from(TENANTS)), moves=draw(st.booleans()),
        )
        for number in range(draw(st.integers(1, 7)))
    ]  # fmt: skip
    limits = st.one_of(st.none(), st.integers(0, 12))
    headroom = {tenant: Headroom(gpus=draw(limits), micros=draw(st.one_of(st.none(), st.integers(0, 2000))))
                for tenant in TENANTS}  # fmt: skip
    return Scene(shelves, queue, headroom)


@settings(max_examples=400, deadline=None)
@given(scenes())
def test_a_round_keeps_every_limit_and_costs_no_more_than_one_by_one(scene: Scene) -> None:
    made = arrange(scene.queue, scene.shelves, scene.headroom, seconds=1.0)
    tenant_of = {job.job_id: job.tenant_id for job in scene.queue}
    for offer, shelf in scene.shelves.items():
        assert sum(o.gpu_count for o in made.starts.values() if o.offer_id == offer) <= shelf.free
    for tenant, left in scene.headroom.items():
        mine = [o for job, o in made.starts.items() if tenant_of[job] == tenant]
        assert left.gpus is None or sum(o.gpu_count for o in mine) <= left.gpus
        assert left.micros is None or sum(o.p90_micros for o in mine) <= left.micros
    for job in scene.queue:
        assert job.job_id not in made.starts or made.starts[job.job_id] in job.options
    if made.solved is not None:
        assert made.solved.cost_micros <= made.greedy_micros
    assert record(made, len(scene.queue), 0.0)["started"] == len(made.starts)


@settings(max_examples=400, deadline=None)
@given(scenes())
def test_nothing_that_starts_delays_the_reserved_start(scene: Scene) -> None:
    """With everything ending as predicted, the reserved GPUs are free at the reserved moment."""
    made = arrange(scene.queue, scene.shelves, scene.headroom, seconds=1.0)
    held = made.reserved
    if held is None:
        return
    assert held.job_id not in made.starts
    offer = held.option.offer_id
    shelf = scene.shelves[offer]
    busy = sum(o.gpu_count for o in made.starts.values() if o.offer_id == offer and o.use_p90_s > held.start_s)
    assert shelf.free_at(held.start_s) - busy >= held.option.gpu_count
    # and so it is for whoever is let in afterwards, by what the round says is kept
    kept = made.kept[offer]
    now_free = shelf.free - sum(o.gpu_count for o in made.starts.values() if o.offer_id == offer)
    assert now_free - kept.gpus <= max(0, shelf.free_at(held.start_s) - busy - held.option.gpu_count) or kept.gpus == 0


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_the_first_of_the_queue_never_waits_for_a_later_one(scene: Scene) -> None:
    made = arrange(scene.queue, scene.shelves, scene.headroom, seconds=1.0)
    first = scene.queue[0]
    alone = arrange([first], scene.shelves, scene.headroom, seconds=1.0)
    assert (first.job_id in made.starts) == (first.job_id in alone.starts)


def test_a_short_job_fills_the_gap_and_a_long_one_does_not() -> None:
    shelves = {UUID(int=100): Shelf(3, [Release(200.0, 5)])}
    large, short, long = waiting(1, option(100, 8)), waiting(2, option(100, 2, seconds=150)), waiting(3, option(100, 2))
    long = waiting(3, option(100, 2, seconds=900))
    made = arrange([large, long, short], shelves, {}, seconds=1.0)
    assert made.reserved is not None
    assert (made.reserved.job_id, made.reserved.start_s, set(made.starts)) == (large.job_id, 200.0, {short.job_id})


def test_a_job_that_its_quota_stops_holds_nobody_up() -> None:
    shelves = {UUID(int=100): Shelf(8)}
    stopped, other = waiting(1, option(100, 8)), waiting(2, option(100, 8), tenant=TENANTS[1])
    made = arrange([stopped, other], shelves, {TENANTS[0]: Headroom(gpus=4)}, seconds=1.0)
    assert (made.reserved, set(made.starts)) == (None, {other.job_id})


def standing(tenant: UUID, share: float = 1.0, used: float = 0.0) -> Tenancy:
    return Tenancy(
        tenant_id=tenant,
        share=share,
        max_gpus=None,
        max_micros_per_month=None,
        gpu_seconds=used,
        gpus=0,
        month_micros=0,
    )


def test_tenants_take_turns_by_their_shares_within_a_priority() -> None:
    many = [waiting(number, option(100, 1)) for number in range(6)]
    few = [waiting(number, option(100, 1), tenant=TENANTS[1]) for number in (10, 11)]
    urgent = waiting(99, option(100, 1), priority=60)
    shares = {TENANTS[0]: standing(TENANTS[0], share=2.0), TENANTS[1]: standing(TENANTS[1])}
    order = [job.job_id.int for job in in_standing_order([*many, *few, urgent], shares)]
    assert order == [99, 10, 0, 1, 11, 2, 3, 4, 5]  # the urgent one counts too; of equal use, who came first
    used = {TENANTS[0]: standing(TENANTS[0], used=1e9), TENANTS[1]: standing(TENANTS[1])}
    assert [job.job_id.int for job in in_standing_order([*many, *few], used)][:2] == [10, 11]


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from(TENANTS)), max_size=20))
def test_the_order_holds_everyone_once_and_priority_first(drawn: list[tuple[int, UUID]]) -> None:
    queue = [waiting(n, option(100, 1), tenant=tenant, priority=priority) for n, (priority, tenant) in enumerate(drawn)]
    order = in_standing_order(queue, {})
    assert sorted(job.job_id for job in order) == sorted(job.job_id for job in queue)
    assert [job.priority for job in order] == sorted((job.priority for job in queue), reverse=True)
    for tenant in TENANTS:
        for priority in {job.priority for job in queue}:
            own = [job.job_id for job in order if (job.tenant_id, job.priority) == (tenant, priority)]
            assert own == sorted(own)


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_predicted_starts_never_use_more_than_there_is(scene: Scene) -> None:
    starts = predicted_starts([(job.job_id, job.options) for job in scene.queue], scene.shelves, uses="use_p50_s")
    assert set(starts) == {job.job_id for job in scene.queue}
    assert all(start >= 0 for start in starts.values())
    alone = [predicted_starts([(job.job_id, job.options)], scene.shelves, uses="use_p50_s") for job in scene.queue]
    assert all(starts[job.job_id] >= one[job.job_id] for job, one in zip(scene.queue, alone, strict=True))
