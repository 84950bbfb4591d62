"""A part of a card is placed on like a card: for its memory, its rates and its price, and never over a network."""

from __future__ import annotations

from typing import Any

import pytest

from predictor.architectures.catalogue import load_models
from predictor.hardware import load_gpu_types
from predictor.model import Predictor, load_default_predictor
from predictor.workload import Software
from predictor.workloads.spec import resolve
from scheduler.domain.candidates import enumerate_candidates
from scheduler.domain.decision import Judged, Placement
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec
from scheduler.domain.verdicts import Code
from tests.scheduler.replay.worlds import NOW
from tests.support.offers import make_offer, make_spec

GPUS = load_gpu_types()
OFFERS = [
    make_offer("A10", 3.0, node_gpus=1, sold_gpus=(1,)),
    make_offer("A10/3", 1.2, node_gpus=1, sold_gpus=(1,)),
]


def serve(model: str, requests: int, **constraints: Any) -> JobSpec:
    workload = {
        "type": "inference", "model": model, "precision": "fp16", "num_requests": requests, "input_length": 2048,
        "output_length": 8, "max_batch_size": 4, "engine": "vllm",
    }  # fmt: skip
    return make_spec(workload=workload, constraints=constraints)


def considered(spec: JobSpec, predictor: Predictor) -> tuple[str, dict[str, Judged]]:
    """The GPU type that was chosen, and what became of each."""
    workload = resolve(spec.workload, load_models(), Software())
    proposals = enumerate_candidates(spec.constraints, workload, OFFERS, GPUS)
    decision = decide(spec, proposals, predictor.forecast(proposals.questions), now=NOW)
    assert isinstance(decision, Placement)
    return decision.chosen.offer.gpu_type, {one.offer.gpu_type: one for one in decision.considered.candidates}


def test_a_short_job_goes_to_the_part_and_a_long_one_to_the_card_that_is_cheaper_for_the_work() -> None:
    short, _ = considered(serve("Qwen/Qwen2.5-0.5B", 10), Predictor(None))  # starting up is all it pays for
    long, found = considered(serve("Qwen/Qwen2.5-0.5B", 1_000_000), Predictor(None))
    assert (short, long) == ("A10/3", "A10")
    part, whole = found["A10/3"].forecast, found["A10"].forecast
    assert part is not None
    assert whole is not None
    assert part.usable_vram_gib == pytest.approx((whole.usable_vram_gib or 0) / 3)
    assert part.runtime_s is not None
    assert whole.runtime_s is not None
    assert part.runtime_s.p50 == pytest.approx(3 * whole.runtime_s.p50, rel=0.5)  # some overhead is no card's


def test_a_job_that_only_the_whole_card_holds_is_short_of_memory_on_the_part() -> None:
    chosen, found = considered(serve("Qwen/Qwen2.5-3B", 10), Predictor(None))
    assert chosen == "A10"
    assert found["A10/3"].verdict.code is Code.VRAM


def test_a_part_is_outside_of_the_domain_and_its_forecast_says_what_was_assumed() -> None:
    _, found = considered(serve("Qwen/Qwen2.5-1.5B", 1000), load_default_predictor())
    part = found["A10/3"].forecast
    assert part is not None
    assert not part.in_domain
    assert "A10/3: memory and rates of A10 in proportion" in part.assumptions


def test_asking_for_the_card_does_not_get_a_part_of_it() -> None:
    chosen, found = considered(serve("Qwen/Qwen2.5-1.5B", 10, gpu_types=["A10"]), Predictor(None))
    assert chosen == "A10"
    assert found["A10/3"].verdict.code is Code.GPU_TYPE
