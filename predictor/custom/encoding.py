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
from numpy.typing import NDArray

from predictor.forecast import Question
from predictor.gather import Flags, Floats, distinct
from predictor.hardware import GpuType
from predictor.workload import CustomWorkload, Workload

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


@dataclass(frozen=True, slots=True)
class Said:
    """What some jobs say of the features that an encoding knows."""

    questions: Sequence[Question]
    numbers: tuple[Floats, ...]
    """(n,) of each number; NaN where a job gives none."""
    words: tuple[NDArray[np.intp], ...]
    """(n,) of each feature of words: the place of the word among those that have a column, or a negative number."""
    novelty: Floats
    """(n,): how many words of each job are new, and how many of the known numbers it does not give."""


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

    @property
    def names(self) -> frozenset[str]:
        """Of the features that it knows."""
        return frozenset({*(number.name for number in self.numbers), *(name for name, _ in self.levels)})

    def encode(self, questions: Sequence[Question]) -> Floats:
        """(n, columns)."""
        return self.encode_said(self.read(questions))

    def read(self, questions: Sequence[Question]) -> Said:
        """What the jobs say, each distinct one read once."""
        workloads = distinct([question.workload for question in questions])
        features = [_features(workload) for workload in workloads.objects]
        novelty = np.zeros(len(features))
        numbers, words = [], []
        for number in self.numbers:
            value = _values(number.name, features)
            numbers.append(_numbers(value)[workloads.place])
            novelty += [one is None for one in value]
        for name, known in self._words.items():
            word = np.array([_word(one, known) for one in _values(name, features)], dtype=np.intp)
            words.append(word[workloads.place])
            novelty += word == _NEW
        return Said(questions, tuple(numbers), tuple(words), novelty[workloads.place])

    def encode_said(self, said: Said) -> Floats:
        """(n, columns)."""
        numbers = [number.encode(value) for number, value in zip(self.numbers, said.numbers, strict=True)]
        words = [
            (word == place).astype(np.float64)
            for known, word in zip(self._words.values(), said.words, strict=True)
            for place in range(len(known))
        ]
        return np.column_stack([*numbers, *words, self._cards(said.questions), said.novelty])

    def within(self, said: Said) -> Flags:
        """True where every number lies in what was seen (half as much again at either end) and no word is new."""
        known: Flags = said.novelty == 0.0
        for number, value in zip(self.numbers, said.numbers, strict=True):
            known &= number.holds(value)
        return known

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


def learn_encoding(questions: Sequence[Question]) -> Encoding:
    """The columns that fit these jobs."""
    features = [_features(question.workload) for question in questions]
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


_NEW, _NO_WORD = -1, -2  # of a word that has no column, and of anything else


def _word(value: float | str | None, known: Mapping[str, int]) -> int:
    return known.get(value, _NEW) if isinstance(value, str) else _NO_WORD


def _values(name: str, features: Sequence[Features]) -> list[float | str | None]:
    """What each job says of a feature; None where it says nothing."""
    return [row.get(name) for row in features]


def _numbers(values: Sequence[float | str | None]) -> Floats:
    """The numbers among them; NaN for all else."""
    if str in set(map(type, values)):  # which numpy would try to read as a number
        values = [None if isinstance(value, str) else value for value in values]
    return np.array(values, dtype=np.float64)


def _features(workload: Workload) -> Features:
    return workload.feature_map if isinstance(workload, CustomWorkload) else {}


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
