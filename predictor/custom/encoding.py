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
from predictor.gather import Floats
from predictor.hardware import GpuType
from predictor.workload import CustomWorkload

MAX_LEVELS = 12
"""Words kept per feature; one that says something new in every job (a name, a path) tells nothing."""

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

    def encode(self, value: float | str | None) -> float:
        """Zero at the centre; a job that does not say it is taken as usual."""
        if not isinstance(value, int | float):
            return 0.0
        if self.logarithmic:
            return math.log(max(float(value), self.low * 1e-3)) - self.centre
        return (float(value) - self.centre) / self.scale


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
        cards: dict[int, tuple[float, float, float, float]] = {}
        rows = []
        for question in questions:
            card = cards.get(id(question.gpu))
            if card is None:
                card = cards[id(question.gpu)] = self._card(question.gpu)
            count = math.log(question.layout.gpu_count) - self.gpu_centre[2]
            rows.append([*self._features(_features(question)), card[0], card[1], count, card[3]])
        novelty = [self._novelty(_features(question)) for question in questions]
        return np.column_stack([np.array(rows, dtype=np.float64).reshape(len(questions), -1), novelty])

    def within(self, questions: Sequence[Question]) -> list[bool]:
        """True where every number lies in what was seen (half as much again at either end) and no word is new."""
        return [self._novelty(features) == 0 and self._in_range(features) for features in map(_features, questions)]

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

    def _features(self, features: Mapping[str, float | str]) -> list[float]:
        values = [number.encode(features.get(number.name)) for number in self.numbers]
        return values + [float(features.get(name) == word) for name, word in self.levels]

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

    def _novelty(self, features: Mapping[str, float | str]) -> float:
        known_numbers = {number.name for number in self.numbers}
        known_words = {name for name, _ in self.levels}
        new_words = sum(
            isinstance(value, str) and name in known_words and (name, value) not in self.levels
            for name, value in features.items()
        )
        return float(new_words + sum(name not in features for name in known_numbers))

    def _in_range(self, features: Mapping[str, float | str]) -> bool:
        for number in self.numbers:
            value = features.get(number.name)
            margin = 0.5 * (abs(number.low) if number.logarithmic else number.high - number.low)
            top = number.high * 1.5 if number.logarithmic else number.high + margin
            if isinstance(value, int | float) and not number.low - margin <= value <= top:
                return False
        return True


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


def _features(question: Question) -> Mapping[str, float | str]:
    return question.workload.feature_map if isinstance(question.workload, CustomWorkload) else {}


def _number(name: str, features: Sequence[Mapping[str, float | str]]) -> Number | None:
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


def _levels(name: str, features: Sequence[Mapping[str, float | str]]) -> list[tuple[str, str]]:
    words = Counter(value for row in features if isinstance(value := row.get(name), str))
    # beyond a few jobs, a word per job is a name
    if len(words) > max(3, len(features) // 4):
        return []
    return [(name, word) for word, _ in words.most_common(MAX_LEVELS)]
