"""Custom jobs as rows of numbers: their free features, the card's rates and the GPU count.

What the columns are is learned from the jobs of one kind that were seen. Sizes that are always
positive count by their logarithm, since time is a product of sizes far more often than a sum.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from predictor.forecast import Question
from predictor.gather import Flags, Floats, distinct
from predictor.hardware import GpuType
from predictor.workload import CustomWorkload

MAX_LEVELS = 12
"""Words kept per feature; one that says something new in every job (a name, a path) tells nothing."""

Features = Mapping[str, float | str]

GPU_COLUMNS = ("log matrix rate", "log bandwidth", "log gpu count", "accelerator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A numeric feature: how it is scaled, and its usual value for jobs that leave it out."""

    name: str
    logarithmic: bool
    centre: float
    scale: float
    low: float
    high: float

    def encode(self, values: Floats) -> Floats:
        """Zero at the centre; a job that does not say it (NaN) is taken as usual."""
        if self.logarithmic:
            scaled = np.log(np.maximum(values, self.low * 1e-3)) - self.centre
        else:
            scaled = (values - self.centre) / self.scale
        return np.where(np.isnan(values), 0.0, scaled)

    def holds(self, values: Floats) -> Flags:
        """Whether each value lies in what was seen, half as much again at either end; one that is not said does."""
        margin = 0.5 * (abs(self.low) if self.logarithmic else self.high - self.low)
        top = self.high * 1.5 if self.logarithmic else self.high + margin
        return np.isnan(values) | ((values >= self.low - margin) & (values <= top))


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The columns of one kind of job."""

    numbers: tuple[Number, ...]
    levels: tuple[tuple[str, str], ...]
    """Feature and word; a column is 1 where the job says that word."""
    gpu_centre: tuple[float, float, float, float]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order; the last counts what was never seen."""
        words = (f"{name}={word}" for name, word in self.levels)
        return (*(number.name for number in self.numbers), *words, *GPU_COLUMNS, "novelty")

    def encode(self, questions: Sequence[Question]) -> Floats:
        """(n, columns)."""
        features = [_features(question) for question in questions]
        numbers = [number.encode(_said(number.name, features)) for number in self.numbers]
        words = [column for name in self._words for column in self._columns(name, features)]
        novelty = self._novelty(features)
        return np.column_stack([*numbers, *words, self._cards(questions), novelty])

    def within(self, questions: Sequence[Question]) -> list[bool]:
        """True where every number lies in what was seen (half as much again at either end) and no word is new."""
        features = [_features(question) for question in questions]
        known = self._novelty(features) == 0.0
        for number in self.numbers:
            known &= number.holds(_said(number.name, features))
        return [bool(one) for one in known]

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Encoding:
        """Raises KeyError, TypeError or ValueError where `raw` is not what `to_json` wrote."""
        rates = tuple(float(value) for value in raw["gpu_centre"])
        if len(rates) != len(GPU_COLUMNS):
            raise ValueError("gpu_centre has the wrong length")
        return cls(
            numbers=tuple(Number(**number) for number in raw["numbers"]),
            levels=tuple((str(name), str(word)) for name, word in raw["levels"]),
            gpu_centre=(rates[0], rates[1], rates[2], rates[3]),
        )

    @property
    def _words(self) -> Mapping[str, Mapping[str, int]]:
        """By feature, the words that have a column, numbered."""
        words: dict[str, dict[str, int]] = {}
        for name, word in self.levels:
            known = words.setdefault(name, {})
            known[word] = len(known)
        return words

    def _columns(self, name: str, features: Sequence[Features]) -> Floats:
        """(words of the feature, n): 1 where the job says the word."""
        known = self._words[name]
        said = np.array([known.get(row.get(name), -1) for row in features], dtype=np.intp)  # type: ignore[arg-type]
        columns: Floats = (said == np.arange(len(known))[:, None]).astype(np.float64)
        return columns

    def _cards(self, questions: Sequence[Question]) -> Floats:
        """(n, GPU_COLUMNS)."""
        cards = distinct([question.gpu for question in questions])
        rows = np.array([self._card(gpu) for gpu in cards.objects]).reshape(-1, len(GPU_COLUMNS))[cards.place]
        counts = np.array([question.layout.gpu_count for question in questions], dtype=np.float64)
        rows[:, 2] = np.log(counts) - self.gpu_centre[2]
        return rows

    def _card(self, gpu: GpuType) -> tuple[float, float, float, float]:
        rate, bandwidth, _, accelerator = card_numbers(gpu, 1)
        matches = accelerator == round(self.gpu_centre[3])
        # nothing is known of how work moves between a host and a card, so neither is said to be faster
        return (
            rate - self.gpu_centre[0] if matches else 0.0,
            bandwidth - self.gpu_centre[1] if matches else 0.0,
            0.0,
            accelerator - self.gpu_centre[3],
        )

    def _novelty(self, features: Sequence[Features]) -> Floats:
        """How many words of each job are new, and how many of the known numbers it does not give."""
        novelty = np.zeros(len(features))
        for name, known in self._words.items():
            novelty += [isinstance(word := row.get(name), str) and word not in known for row in features]
        for name in {number.name for number in self.numbers}:
            novelty += [name not in row for row in features]
        return novelty


def learn_encoding(questions: Sequence[Question]) -> Encoding:
    """The columns that fit these jobs."""
    features = [_features(question) for question in questions]
    names = sorted({name for row in features for name in row})
    cards = np.array([card_numbers(question.gpu, question.layout.gpu_count) for question in questions])
    centre = cards.mean(axis=0)
    return Encoding(
        numbers=tuple(number for name in names if (number := _number(name, features)) is not None),
        levels=tuple(level for name in names for level in _levels(name, features)),
        gpu_centre=(float(centre[0]), float(centre[1]), float(centre[2]), float(centre[3])),
    )


def card_numbers(gpu: GpuType, gpu_count: int) -> tuple[float, float, float, float]:
    """The values of GPU_COLUMNS before centring."""
    rate = max(gpu.fp16_tflops or 0.0, gpu.bf16_tflops or 0.0, gpu.fp32_tflops or 0.0, 1e-3)
    return math.log(rate), math.log(gpu.memory_bandwidth_gbs), math.log(gpu_count), float(gpu.is_accelerator)


def _said(name: str, features: Sequence[Features]) -> Floats:
    """A numeric feature of each job; NaN where it gives none."""
    values = (row.get(name) for row in features)
    return np.array([value if isinstance(value, (int, float)) else math.nan for value in values], dtype=np.float64)


def _features(question: Question) -> Features:
    return question.workload.feature_map if isinstance(question.workload, CustomWorkload) else {}


def _number(name: str, features: Sequence[Features]) -> Number | None:
    values = [float(value) for row in features if isinstance(value := row.get(name), int | float)]
    if not values:
        return None
    logarithmic = min(values) > 0
    scaled = np.log(values) if logarithmic else np.array(values)
    scale = max(float(scaled.std()), 0.1 * abs(float(scaled.mean())), 1e-9)
    return Number(
        name=name,
        logarithmic=logarithmic,
        centre=float(scaled.mean()),
        scale=1.0 if logarithmic else scale,
        low=min(values),
        high=max(values),
    )


def _levels(name: str, features: Sequence[Features]) -> list[tuple[str, str]]:
    words = Counter(value for row in features if isinstance(value := row.get(name), str))
    # beyond a few jobs, a word per job is a name
    if len(words) > max(3, len(features) // 4):
        return []
    return [(name, word) for word, _ in words.most_common(MAX_LEVELS)]
