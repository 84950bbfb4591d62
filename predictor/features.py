"""What the learned part reads: physical quantities of a question, never the name of a card or a model.

An unseen card or model is then a point between or beside known ones. The order of the columns is
defined here once, and its hash ties a bundle to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from predictor.arithmetic import InferenceArithmetic, TrainingArithmetic
from predictor.columns import ALLOCATED, DRIVER, RESERVED, STATED
from predictor.gather import Flags, Floats
from predictor.workloads.software import UNSAID


class Role(StrEnum):
    """What a feature may do to a forecast."""

    FIXED = "fixed"
    """Set by model, card, layout and software; also measures distance."""
    GROWING = "growing"
    """Rises with batch, length or rank; a correction may only rise with it, so that a forecast never falls."""
    SPLIT = "split"
    """Fixed too, but says what share is what; too derived to measure distance by."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column."""

    name: str
    role: Role
    read: Callable[[Any], Floats]
    habit: bool = False
    """Says how software and cards behave rather than which job runs: what it teaches holds for models never seen."""


class FeatureTable:
    """The columns of one task, in order."""

    def __init__(self, *features: Feature) -> None:
        self.features = features
        self.names = tuple(feature.name for feature in features)
        self.fixed = self._places(Role.FIXED)
        self.growing = self._places(Role.GROWING)
        self.habits = tuple(place for place, feature in enumerate(features) if feature.habit)
        self.steady = tuple(place for place, feature in enumerate(features) if feature.role is not Role.GROWING)
        self.all = tuple(range(len(features)))

    @property
    def hash(self) -> str:
        """Changes whenever a column is added, renamed, moved or given another role."""
        said = "\n".join(f"{feature.name}\t{feature.role}\t{feature.habit}" for feature in self.features)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def rows(self, arithmetic: TrainingArithmetic | InferenceArithmetic) -> Floats:
        """(n, columns), every cell finite."""
        columns = [np.asarray(feature.read(arithmetic), dtype=np.float64) for feature in self.features]
        rows = np.stack(columns, axis=1)
        return rows if np.isfinite(rows).all() else np.nan_to_num(rows, nan=0.0, posinf=1e6, neginf=-1e6)

    def _places(self, role: Role) -> tuple[int, ...]:
        return tuple(place for place, feature in enumerate(self.features) if feature.role is role)


def _log(values: Floats, floor: float = 1e-3) -> Floats:
    return np.log(np.maximum(values, floor))


def _fixed(name: str, read: Callable[[Any], Floats]) -> Feature:
    return Feature(name, Role.FIXED, read)


def _growing(name: str, read: Callable[[Any], Floats]) -> Feature:
    return Feature(name, Role.GROWING, read)


def _split(name: str, read: Callable[[Any], Floats]) -> Feature:
    return Feature(name, Role.SPLIT, read)


def _full_batch(x: InferenceArithmetic) -> Floats:
    """Sequences in flight while requests last. Of a batch that was asked for and that the requests cannot fill, what a
    full one teaches is kept: times by batch rise and fall, and a job of more requests must not take less time."""
    return np.where(_counted(x), x.columns.max_batch, x.batch)


def _requests(x: InferenceArithmetic) -> Floats:
    return np.where(_counted(x), np.maximum(x.columns.requests, x.columns.max_batch), x.columns.requests)


def _counted(x: InferenceArithmetic) -> Flags:
    return ~np.isnan(x.columns.max_batch) & ~x.columns.steady


def _decode_intensity(x: InferenceArithmetic) -> Floats:
    """Arithmetic over traffic of the weights in one decode step: above 1 the step waits for arithmetic."""
    c = x.columns
    rate = c.compute_tflops * 1e12 * c.gpu.achievable_fraction
    arithmetic = 2.0 * c.model.active_parameters * _full_batch(x) / c.layout.dp / rate
    return arithmetic / (c.model.parameters * c.weight_bytes / (c.gpu.bandwidth_gbs * 1e9))


def _crowding(x: InferenceArithmetic) -> Floats:
    """Sequences in flight over those whose cache fits, where more than fit: an engine with pages then lets some wait,
    or throws out what it computed and does it again (PagedAttention, arXiv:2309.06180, section 4.5)."""
    return np.where(x.columns.paged, np.maximum(x.batch / x.footprint.fitting, 1.0), 1.0)


def _habits(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    return tuple(replace(feature, habit=True) for feature in features)


_MODEL = (
    _fixed("log parameters", lambda x: _log(x.columns.model.parameters)),
    _fixed("log active share", lambda x: _log(x.columns.model.active_parameters / x.columns.model.parameters)),
    _fixed("log hidden", lambda x: _log(x.columns.model.hidden)),
    _split("log layers", lambda x: _log(x.columns.model.layers)),
    _split("log vocab over hidden", lambda x: _log(x.columns.model.vocab / x.columns.model.hidden)),
    _split("log kv share", lambda x: _log(x.columns.model.kv_heads / np.maximum(x.columns.model.heads, 1.0))),
    _split("log width ratio", lambda x: _log(x.columns.model.intermediate / x.columns.model.hidden)),
)

_LAYOUT = (
    _fixed("log tensor parallel", lambda x: _log(x.columns.layout.tp)),
    _fixed("log pipeline parallel", lambda x: _log(x.columns.layout.pp)),
    _fixed("log data parallel", lambda x: _log(x.columns.layout.dp)),
    _fixed("log expert parallel", lambda x: _log(x.columns.layout.ep)),
)

_TRAINING_LAYOUT = (
    *_LAYOUT,
    _fixed("log context parallel", lambda x: _log(x.columns.layout.cp)),
    _fixed("sharding stage", lambda x: x.columns.layout.stage),
)

_METRIC = (
    _fixed("driver", lambda x: 2.0 * (x.columns.metric == DRIVER)),
    _fixed("reserved", lambda x: 2.0 * (x.columns.metric == RESERVED)),
    _fixed("allocated", lambda x: 2.0 * (x.columns.metric == ALLOCATED)),
    _fixed("stated", lambda x: 2.0 * (x.columns.metric == STATED)),
)

_METHOD = (
    _fixed("full", lambda x: 2.0 * x.columns.full),
    _fixed("quantized", lambda x: 2.0 * x.columns.quantized),
    _fixed("prepared for k-bit", lambda x: 1.0 * x.columns.prepared_kbit),
    _fixed("checkpointing", lambda x: x.columns.checkpointing),
    _fixed("attention", lambda x: x.columns.attention),
    _fixed("megatron", lambda x: 2.0 * x.columns.megatron),
    _fixed("eight bit", lambda x: 1.0 * x.columns.eight_bit_matmul),
    _fixed("fused loss", lambda x: 1.0 * x.columns.fused_loss),
    _fixed("lean loss", lambda x: 1.0 * x.columns.lean_loss),
    _fixed("fused blocks", lambda x: 1.0 * x.columns.fused_blocks),
    _fixed("lengths vary", lambda x: 1.0 * x.columns.varied),
    _fixed("master bytes", lambda x: x.columns.master_bytes),
    _fixed("gradient bytes", lambda x: x.columns.gradient_bytes),
)

_CARD = (
    _fixed("log matrix rate", lambda x: _log(x.columns.compute_tflops)),
    _fixed("log bandwidth", lambda x: _log(x.columns.gpu.bandwidth_gbs)),
    _fixed("log link", lambda x: _log(x.columns.layout.link_gbs)),
    _fixed("year", lambda x: 0.25 * (x.columns.gpu.year - 2020.0)),
    _fixed("amd", lambda x: 2.0 * x.columns.gpu.is_amd),
    _split("achievable share", lambda x: x.columns.gpu.achievable_fraction),
)

_SOFTWARE = (
    _fixed("generation", lambda x: x.software.generation),
    _fixed("generation known", lambda x: 1.0 * (x.software.generation != UNSAID)),
    _fixed("latency bound", lambda x: x.software.latency_bound),
    _fixed("static batches", lambda x: x.software.static),
)

TRAINING_MEMORY = FeatureTable(
    *_MODEL,
    *_habits(_METRIC),
    *_habits(_METHOD),
    *_TRAINING_LAYOUT,
    _growing("log micro batch", lambda x: _log(x.columns.micro_batch)),
    _growing("log sequence", lambda x: _log(x.columns.sequence)),
    _growing("log lora rank", lambda x: _log(x.columns.lora_rank, 1.0)),
    _growing("log activations", lambda x: np.log(x.footprint.activations + 0.25)),
    _growing("log peak", lambda x: _log(x.footprint.peak_gib)),
)

INFERENCE_MEMORY = FeatureTable(
    *_MODEL,
    *_habits(_METRIC),
    *_LAYOUT,
    *_habits(
        (
            _fixed("weight bytes", lambda x: x.columns.weight_bytes),
            _fixed("paged", lambda x: 4.0 * x.columns.paged),
            _fixed("keeps prompt logits", lambda x: 1.0 * x.columns.keeps_prompt_logits),
        )
    ),
    _split("log weights", lambda x: _log(x.footprint.weights)),
    # a cache that merely fills what is free says nothing of the job: what must fit does
    _growing("log batch", lambda x: _log(x.footprint.least_batch)),
    _growing("log input", lambda x: _log(x.columns.input, 1.0)),
    _growing("log length", lambda x: _log(x.columns.input + x.columns.output, 1.0)),
    _growing("log cache", lambda x: np.log(x.footprint.least_cache_gib + 0.25)),
    _growing("log peak", lambda x: _log(x.footprint.least_peak_gib)),
)

TRAINING_TIME = FeatureTable(
    *_MODEL,
    *_habits(_METHOD),
    *_TRAINING_LAYOUT,
    *_habits(_CARD),
    *_habits(_SOFTWARE[:2]),
    _fixed("log machines", lambda x: _log(x.columns.layout.nodes)),
    _growing("log micro batch", lambda x: _log(x.columns.micro_batch)),
    _growing("log sequence", lambda x: _log(x.columns.sequence)),
    _growing("log lora rank", lambda x: _log(x.columns.lora_rank, 1.0)),
    _growing("log accumulation", lambda x: _log(x.columns.accumulation)),
    _growing("log step", lambda x: _log(x.time.step_time_s, 1e-6)),
)

INFERENCE_TIME = FeatureTable(
    *_MODEL,
    *_LAYOUT,
    *_habits(_CARD),
    *_habits(_SOFTWARE),
    *_habits(
        (
            _fixed("log weight bytes", lambda x: _log(x.columns.weight_bytes)),
            _fixed("cache bytes", lambda x: x.columns.cache_bytes),
            _fixed("log engine step", lambda x: _log(x.columns.pace.step_s, 1e-6)),
            _fixed("matrix share", lambda x: 4.0 * x.columns.pace.matrix_share),
            _growing("log crowding", lambda x: _log(_crowding(x))),
            # a larger batch in flight may well be faster, so these are free; longer texts never are
            _split("log batch of a replica", lambda x: _log(_full_batch(x) / x.columns.layout.dp)),
            _split("log intensity", lambda x: _log(_decode_intensity(x), 1e-9)),
        )
    ),
    _split("log batch", lambda x: _log(_full_batch(x))),
    _growing("log input", lambda x: _log(x.columns.input, 1.0)),
    _growing("log output", lambda x: _log(x.columns.output, 1.0)),
    _growing("log length", lambda x: _log(x.columns.input + x.columns.output, 1.0)),
    _growing("log requests", lambda x: _log(_requests(x))),
    _growing("log runtime", lambda x: _log(x.time.runtime_s, 1e-6)),
)


class Task(StrEnum):
    """What is forecast; each has trees of its own."""

    TRAINING_MEMORY = "training_memory"
    INFERENCE_MEMORY = "inference_memory"
    TRAINING_TIME = "training_time"
    INFERENCE_TIME = "inference_time"

    @property
    def features(self) -> FeatureTable:
        """The columns its trees read."""
        return _FEATURES[self]

    @property
    def is_memory(self) -> bool:
        """Memory has lower bounds and one-sided promises; time has neither."""
        return self in (Task.TRAINING_MEMORY, Task.INFERENCE_MEMORY)


_FEATURES: Mapping[Task, FeatureTable] = {
    Task.TRAINING_MEMORY: TRAINING_MEMORY,
    Task.INFERENCE_MEMORY: INFERENCE_MEMORY,
    Task.TRAINING_TIME: TRAINING_TIME,
    Task.INFERENCE_TIME: INFERENCE_TIME,
}
