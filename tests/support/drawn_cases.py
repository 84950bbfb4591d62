"""Inventories, forecasts and specs drawn by Hypothesis, for a decision and a second opinion on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.forecast import Forecast, Question, Spread, Vram
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.words import Basis
from predictor.workload import Software, Workload
from predictor.workloads.spec import resolve
from scheduler.domain.candidates import Proposals, enumerate_candidates
from scheduler.domain.decision import Decision
from scheduler.domain.fit import Tried
from scheduler.domain.offers import Offer
from scheduler.domain.placement import decide
from scheduler.domain.room import OPEN, Headroom, Kept, Room
from scheduler.domain.spec import Constraints, JobSpec, Objective
from scheduler.domain.stock import Warm, inventory_of
from tests.support.brute_force import Best, best_of
from tests.support.offers import make_custom_spec, make_offer, make_spec

NOW = datetime(2026, 9, 1, tzinfo=UTC)
GPUS = load_gpu_types()
WORKLOAD = resolve(make_spec().workload, load_models(), Software())
SPECS = (
    make_spec(),
    make_spec(
        workload={"type": "inference", "model": "meta-llama/Llama-3.1-8B", "precision": "fp8", "num_requests": 9}
    ),
    make_custom_spec(),
)
WORKLOADS = {spec.workload.type: resolve(spec.workload, load_models(), Software()) for spec in SPECS}
TYPES = ("H100-SXM", "L40S", "A100-80GB-SXM", "H100", "H200-SXM", "H100-SXM", "A100", "CPU")

seconds = st.floats(1.0, 500_000.0)
# prices that are equal, a breath apart or far apart: where pruning could go wrong
micros = st.one_of(
    st.none(),
    st.integers(0, 20_000_000),
    st.sampled_from([0, 1, 2_000_000, 2_000_001, 2_003_600, 2_010_000, 3_000_000]),
)

Key = tuple[str, Layout, int, float | None]


def key(question: Question) -> Key:
    """What a forecast depends on, the workload apart."""
    return question.gpu.name, question.layout, question.node_gpus, question.interconnect_gbps


@dataclass(frozen=True)
class Case:
    """A job, what is on offer, and what every question is answered with."""

    spec: JobSpec
    offers: list[Offer]
    forecasts: dict[Key, Forecast]
    tried: tuple[Tried, ...] = ()
    warm: Mapping[UUID, Warm] = field(default_factory=dict)
    room: Room = OPEN

    @property
    def workload(self) -> Workload:
        return WORKLOADS[self.spec.workload.type]

    def proposals(self) -> Proposals:
        inventory = replace(inventory_of(self.offers), warm=self.warm)
        return enumerate_candidates(self.spec.constraints, self.workload, inventory, GPUS)

    def decide(self, taken: frozenset[UUID] = frozenset()) -> Decision:
        proposals = self.proposals()
        forecasts = [self.forecasts[key(question)] for question in proposals.questions]
        return decide(self.spec, proposals, forecasts, now=NOW, tried=self.tried, taken=taken, room=self.room)

    def second_opinion(self) -> Best | None:
        return best_of(
            self.spec, self.workload, self.offers, GPUS, lambda question: self.forecasts[key(question)],
            now=NOW, tried=self.tried, warm=self.warm, room=self.room,
        )  # fmt: skip


@st.composite
def offer_lists(draw: st.DrawFn, most: int = 8) -> list[Offer]:
    offers = []
    for index in range(draw(st.integers(1, most))):
        node = draw(st.sampled_from([1, 2, 8]))
        offers.append(
            make_offer(
                draw(st.sampled_from(TYPES)),
                id=UUID(int=draw(st.integers(1, 2**64)) * 64 + index),
                provider=draw(st.sampled_from(["acme", "best"])), region=f"r{index}",
                country=draw(st.sampled_from(["FI", "US", None])),
                provider_hq=draw(st.sampled_from(["FI", "US", None])),
                tenancy=draw(st.sampled_from(["shared", "dedicated"])),
                node_gpus=node, sold_gpus=tuple(sorted(draw(st.sets(st.sampled_from([1, node]), min_size=1)))),
                max_nodes=draw(st.sampled_from([1, 2])), capacity_gpus=draw(st.integers(0, 20)),
                reserved_gpus=draw(st.integers(0, 10)),
                on_demand_micros_per_gpu_hour=draw(micros), spot_micros_per_gpu_hour=draw(micros),
                billing_increment_s=draw(st.sampled_from([1, 60, 3600])),
                minimum_s=draw(st.sampled_from([0, 60, 3600])),
                provision_s=draw(st.one_of(st.sampled_from([0.0, 300.0]), st.floats(0, 900))),
                egress_micros_per_gib=draw(st.sampled_from([None, None, 0, 80_000])),
            )
        )  # fmt: skip
    return offers


WHERE: list[dict[str, object]] = [
    {}, {}, {}, {}, {"exclude_gpu_types": ["L40S"]}, {"exclude_gpu_types": ["H100"]},
    {"gpu_types": ["H100-SXM", "A100", "CPU"]}, {"gpu_types": ["H100", "l40s"], "exclude_gpu_types": ["H100-PCIe"]},
    {"providers": ["ACME", "other"]}, {"regions": ["r0", "R1", "r2"]}, {"jurisdictions": ["EU"]},
    {"provider_jurisdictions": ["EU", "US"]}, {"tenancy": "dedicated"},
]  # fmt: skip
"""Rarely more than one at a time, or hardly anything would be feasible."""


@st.composite
def rooms(draw: st.DrawFn, offers: list[Offer]) -> Room:
    """Everything, half the time."""
    if draw(st.booleans()):
        return OPEN
    some = st.sets(st.sampled_from([offer.id for offer in offers]), max_size=2)
    gpus, micros = draw(st.sampled_from([None, None, 1, 8])), draw(st.one_of(st.none(), st.integers(0, 10**9)))
    return Room(
        kept={
            offer_id: Kept(draw(st.sampled_from([0, 1, 8, 40])), draw(st.floats(-10, 500_000)))
            for offer_id in sorted(draw(some))
        },
        ahead=frozenset(draw(some)),
        headroom=Headroom(
            gpus=gpus, most_gpus=None if gpus is None else gpus + draw(st.sampled_from([0, 7])),
            micros=micros, most_micros=None if micros is None else micros + draw(st.integers(0, 10**9)),
        ),
        assigned=draw(st.sampled_from([None, *((offer.id, count) for offer in offers for count in offer.counts())])),
    )  # fmt: skip


@st.composite
def constraint_sets(draw: st.DrawFn) -> Constraints:
    deadline = draw(st.one_of(st.none(), st.floats(-100, 600_000)))
    count, most = draw(st.sampled_from([(None, 1), (None, 8), (None, 8), (None, 16), (1, 8), (8, 16)]))
    return Constraints.model_validate(
        {
            "max_gpus": most,
            "gpu_count": count,
            **draw(st.sampled_from(WHERE)),
            "spot": draw(st.sampled_from(["forbid", "allow", "require"])),
            "deadline": None if deadline is None else NOW + timedelta(seconds=deadline),
            "min_deadline_probability": draw(st.sampled_from([0.3, 0.5, 0.9, 0.99])),
            "max_cost_usd": draw(st.one_of(st.none(), st.decimals("0.01", "500", places=2))),
            "max_runtime_s": draw(st.one_of(st.none(), seconds)),
            "min_fit_probability": draw(st.sampled_from([0.5, 0.95])),
            "out_of_memory_usd": draw(st.sampled_from([0, 0, 5, 1000])),
        }
    )


@st.composite
def crashes(draw: st.DrawFn) -> tuple[Tried, ...]:
    if draw(st.integers(0, 3)):
        return ()
    return (
        Tried(
            gpu_type=draw(st.sampled_from(TYPES)), layout=Layout(),
            usable_gib=draw(st.one_of(st.none(), st.floats(20, 80))),
            need_p50_gib=draw(st.one_of(st.none(), st.floats(20, 60))),
        ),
    )  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> Case:
    offers = draw(offer_lists())
    spec = draw(st.sampled_from(SPECS)).model_copy(
        update={
            "objective": draw(st.sampled_from(Objective)), "output_gib": draw(st.sampled_from([0.0, 0.0, 2.5, 100.0])),
            "constraints": draw(constraint_sets()),
        }
    )  # fmt: skip
    everything = enumerate_candidates(
        Constraints(max_gpus=16, spot="allow"), WORKLOADS[spec.workload.type], offers, GPUS
    )
    forecasts = {key(question): draw(_forecasts(question)) for question in everything.questions}
    return Case(spec, offers, forecasts, draw(crashes()), draw(warm_machines(offers)), draw(rooms(offers)))


@st.composite
def warm_machines(draw: st.DrawFn, offers: list[Offer]) -> dict[UUID, Warm]:
    if draw(st.booleans()):
        return {}
    there = draw(st.sets(st.sampled_from([offer.id for offer in offers]), min_size=1, max_size=3))
    return {
        offer_id: Warm(
            gpus=draw(st.sampled_from([1, 2, 8])), ready_s=draw(st.sampled_from([0.0, 20.0])),
            paid_s=draw(st.sampled_from([0, 50, 3600])),
        )
        for offer_id in sorted(there)
    }  # fmt: skip


@st.composite
def _forecasts(draw: st.DrawFn, question: Question) -> Forecast:
    p50 = draw(seconds)
    need = draw(st.floats(1.0, 120.0))
    usable = question.gpu.usable_gib or 0.0
    fits = draw(st.sampled_from([0.6, 0.96, 0.999, 1.0])) if need <= usable else draw(st.sampled_from([0.0, 0.3]))
    times = Spread(p10=p50 / draw(st.floats(1.0, 2.0)), p50=p50, p90=p50 * draw(st.floats(1.0, 2.0)))
    vram = Vram(p50_gib=need * draw(st.sampled_from([0.5, 0.9])), p95_gib=need)
    return Forecast(
        gpu_type=question.gpu.name, layout=question.layout, peak_vram=vram,
        usable_vram_gib=usable, fit_probability=fits, vram_breakdown=None, tokens_per_second=None, step_time_s=None,
        runtime_s=draw(st.sampled_from([times, times, times, None])), startup_s=draw(st.floats(0, 100)),
        max_batch_size=None, basis=Basis.ARITHMETIC, in_domain=True, assumptions=(), model_version="drawn",
    )  # fmt: skip
