"""What of a job could be changed to make it cheaper: one change at a time, suggested and never applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from predictor.words import Checkpointing, Method, Precision
from predictor.workload import InferenceWorkload, TrainingWorkload, Workload
from predictor.workloads.spec import InferenceSpec, TrainingSpec
from scheduler.domain.decision import Decision, Estimate, Judged, Placement
from scheduler.domain.spec import JobSpec, Objective, Spot
from scheduler.domain.spot import NEVER_S
from scheduler.domain.stock import Kind

MOST = 3
LEAST_SAVING = 0.05
"""Share of the expected cost below which a change is not worth a line."""

REACH = 3
"""Kinds that would cost (or, where time is the objective, take) more than this many times the chosen one are not
planned again for a changed workload: hardly a change makes a card that much faster against the others."""

MOST_KINDS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A job with one thing changed."""

    field: str
    value: Any
    """As JSON writes it."""
    spec: JobSpec

    @property
    def of_workload(self) -> bool:
        """Whether it changes what is forecast, not only where the job may run."""
        return self.field in type(self.spec.workload).model_fields

    @property
    def text(self) -> str:
        """`gradient_checkpointing=full`"""
        listed = ", ".join(self.value) if isinstance(self.value, list) else self.value
        return f"{self.field}={listed if self.value not in (None, []) else 'any'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What a change would bring."""

    change: Change
    chosen: Judged
    """Where the changed job would run."""
    saving: float | None
    """Share of the expected cost; None where the job as it stands has no placement to compare with."""
    longer: float | None
    """Share by which the median time from the order to the end grows; negative where it shrinks."""


def changes(spec: JobSpec, workload: Workload) -> list[Change]:
    """Every change that is worth a plan of its own. `workload` is the spec's, with its defaults filled in."""
    of_workload: Sequence[tuple[str, Any]] = ()
    if isinstance(workload, TrainingWorkload):
        of_workload = tuple(_training(workload))
    elif isinstance(workload, InferenceWorkload):
        of_workload = tuple(_inference(workload))
    found = [_workload_change(spec, field, value) for field, value in of_workload]
    found += [_constraint_change(spec, field, value) for field, value in _constraints(spec)]
    return found


def within_reach(decision: Decision, objective: Objective) -> frozenset[Kind]:
    """Kinds of lots on which a changed workload is planned: those not far worse now, or not far from fitting."""

    def measure(estimate: Estimate) -> float:
        return estimate.use_p50_s if objective is Objective.TIME else estimate.p50_micros

    listed = [(one, one.estimate) for one in decision.considered.candidates if one.estimate is not None]
    if isinstance(decision, Placement) and decision.chosen.estimate is not None:
        most = REACH * measure(decision.chosen.estimate)
        listed = sorted((pair for pair in listed if measure(pair[1]) <= most), key=lambda pair: measure(pair[1]))
    return frozenset(Kind(one.offer.gpu_type, one.gpu_count) for one, _ in listed[:MOST_KINDS])


def worthwhile(
    made: Sequence[tuple[Change, Judged | None]], decision: Decision, now: datetime
) -> tuple[Suggestion, ...]:
    """The changes that save most, the best first: of each field the best value, as many as are worth saying."""
    base = _estimate(decision.chosen) if isinstance(decision, Placement) else None
    best: dict[str, Suggestion] = {}
    for change, chosen in made:
        found = None if chosen is None else _suggestion(change, chosen, base, now)
        if found is not None and (change.field not in best or _rank(found) < _rank(best[change.field])):
            best[change.field] = found
    return tuple(sorted(best.values(), key=_rank)[:MOST])


def _suggestion(change: Change, chosen: Judged, base: tuple[int, float] | None, now: datetime) -> Suggestion | None:
    cost, time = _estimate(chosen)
    if change.field == "deadline":
        assert chosen.estimate is not None  # noqa: S101 - what is chosen was reckoned
        if chosen.estimate.done_s >= NEVER_S:
            return None  # no deadline would do
        change = _until(change, chosen.estimate.done_s, now)
    if base is None:
        return Suggestion(change=change, chosen=chosen, saving=None, longer=None)
    saving = 1 - cost / base[0] if base[0] else 0.0
    if saving < LEAST_SAVING:
        return None
    return Suggestion(change=change, chosen=chosen, saving=saving, longer=time / base[1] - 1)


def _estimate(chosen: Judged) -> tuple[int, float]:
    assert chosen.estimate is not None  # noqa: S101 - what is chosen was reckoned
    return chosen.estimate.expected_micros, chosen.estimate.use_p50_s


def _rank(suggestion: Suggestion) -> tuple[int, str]:
    return _estimate(suggestion.chosen)[0], suggestion.change.text


def _until(change: Change, needed: float, now: datetime) -> Change:
    """The deadline that the cheaper placement would meet with the asked probability, to the full hour."""
    late = (now + timedelta(seconds=needed, hours=1)).astimezone(UTC)
    return Change(field=change.field, value=f"{late:%Y-%m-%dT%H:00Z}", spec=change.spec)


def _training(workload: TrainingWorkload) -> Iterator[tuple[str, Any]]:
    if workload.precision in (Precision.FP32, Precision.TF32):
        yield "precision", Precision.BF16
    for checkpointing in Checkpointing:
        if checkpointing is not workload.gradient_checkpointing:
            yield "gradient_checkpointing", checkpointing
    if workload.global_batch_size is not None:  # accumulation makes up for it: the job learns the same
        for size in (1, 2, 4, 8, 16):
            if size != workload.micro_batch_size and workload.global_batch_size % size == 0:
                yield "micro_batch_size", size
    if workload.method is Method.FULL:
        yield "method", Method.LORA
        if workload.optimizer == "adamw":
            yield "optimizer", "adamw_8bit"
    elif workload.method is Method.LORA:
        yield "method", Method.QLORA


def _inference(workload: InferenceWorkload) -> Iterator[tuple[str, Any]]:
    wide = (Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16)
    if workload.precision in wide:
        yield "precision", Precision.FP8
    if workload.precision in (*wide, Precision.FP8, Precision.INT8):
        yield "precision", Precision.INT4
    if workload.kv_cache_precision in wide:
        yield "kv_cache_precision", Precision.FP8


def _constraints(spec: JobSpec) -> Iterator[tuple[str, Any]]:
    asked = spec.constraints
    if asked.spot is Spot.FORBID:
        yield "spot", Spot.ALLOW
    if asked.deadline is not None:
        yield "deadline", None
    if asked.jurisdictions:
        yield "jurisdictions", []
    if asked.provider_jurisdictions:
        yield "provider_jurisdictions", []


def _workload_change(spec: JobSpec, field: str, value: Any) -> Change:
    workload = spec.workload
    assert isinstance(workload, TrainingSpec | InferenceSpec)  # noqa: S101 - custom work has none of these fields
    changed = workload.model_copy(update={field: value})
    return Change(field=field, value=_json(value), spec=spec.model_copy(update={"workload": changed}))


def _constraint_change(spec: JobSpec, field: str, value: Any) -> Change:
    constraints = spec.constraints.model_copy(update={field: value})
    return Change(field=field, value=_json(value), spec=spec.model_copy(update={"constraints": constraints}))


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
