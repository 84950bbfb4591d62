"""Placements to export."""

from __future__ import annotations

from typing import Any

from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from scheduler.domain.decision import Judged
from scheduler.domain.offers import Offer
from scheduler.domain.verdicts import Code, Verdict
from scheduler.exports.rental import Rental, rental_of
from tests.support.offers import make_custom_spec, make_offer

GPUS = load_gpu_types()


def make_rental(
    command: list[str] | None = None, *, spot: bool = False, gpu_count: int = 8, micros: int = 2_950_000, **changes: Any
) -> Rental:
    """Eight H100s at Nebius for $2.95 an hour each; `run`, `constraints` and what an offer has can be given."""
    run = {"command": command or ["python", "train.py"], "image": "acme/train:1", **changes.pop("run", {})}
    spec = make_custom_spec(
        run=run, name=changes.pop("name", "Nightly run"), constraints=changes.pop("constraints", {})
    )
    offer = make_offer(
        changes.pop("gpu_type", "H100-SXM"), 1.0, **{"provider": "nebius", "region": "eu-north1", **changes}
    )
    return rental_of(spec, judged(offer, gpu_count=gpu_count, spot=spot, micros=micros), GPUS)


def judged(offer: Offer, *, gpu_count: int, spot: bool, micros: int) -> Judged:
    return Judged(
        offer=offer, gpu_count=gpu_count, layout=Layout(gpu_count=gpu_count, data_parallel=gpu_count), spot=spot,
        micros_per_gpu_hour=micros, provision_s=0.0, forecast=None, fit_probability=None, estimate=None,
        verdict=Verdict(Code.CHOSEN, None, "lowest expected cost"),
    )  # fmt: skip
