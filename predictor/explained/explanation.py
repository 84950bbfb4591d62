"""Why a forecast says what it says, as values: parts of the arithmetic, what was learned on top, and who is near."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Said = float | bool | str
"""A feature as a person says it: a number, a yes or no, or a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one part of the learning said, and how much of it was believed this far from what it had seen."""

    told: float
    """The factor it would put on the arithmetic."""
    trust: float
    """The share of it that counts, from 0 to 1, of its logarithm."""

    @property
    def factor(self) -> float:
        """What it does to the forecast."""
        return float(self.told**self.trust)

    def to_json(self) -> dict[str, object]:
        return {"told": _digits(self.told), "trust": _digits(self.trust), "factor": _digits(self.factor)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was learned about one quantity; the factors multiply."""

    habits: Layer | None
    """How software and cards behave. None where the bundle says nothing of the task."""
    particulars: Layer | None
    """This kind of model, layout and size, beyond the habits."""
    site: float | None
    """What this site's own jobs put on top; None where it has none."""
    factor: float
    """All of them together: the middle of the forecast over the arithmetic."""
    distance: float | None
    """To the nearest known layout, card and model, in standard deviations of what was seen; None: nothing was."""
    reach: float | None
    """What most known jobs keep from their nearest neighbour: further is out of domain."""
    beyond: Mapping[str, float]
    """Sizes above the largest seen, each with its factor; each widens the interval."""
    spread: float
    """How much wider or narrower than usual the interval is, as a factor."""

    def to_json(self) -> dict[str, object]:
        return {
            "habits": self.habits.to_json() if self.habits else None,
            "particulars": self.particulars.to_json() if self.particulars else None,
            "site": _digits(self.site),
            "factor": _digits(self.factor),
            "distance": _digits(self.distance),
            "reach": _digits(self.reach),
            "beyond": {size: _digits(factor) for size, factor in self.beyond.items()},
            "spread": _digits(self.spread),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A feature in which a question and a known job differ."""

    feature: str
    asked: Said
    known: Said
    apart: float
    """In the same unit as the distance, whose square is the sum of the squares of all features."""

    def to_json(self) -> dict[str, object]:
        return {
            "feature": self.feature,
            "asked": _digits(self.asked),
            "known": _digits(self.known),
            "apart": _digits(self.apart),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A job that the predictor was trained on; of custom work, a past one of the asker's own."""

    id: str | None
    """As its source names it; None where the bundle is older than the ids and kept none."""
    distance: float
    differs: tuple[Difference, ...]
    """The features that differ most, largest first; none where batch and length alone may differ."""

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "distance": _digits(self.distance),
            "differs": [one.to_json() for one in self.differs],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Seconds by what the GPUs wait for; `prefill` and `decode` have one each."""

    parts_s: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self.parts_s.values())

    @property
    def bottleneck(self) -> str:
        """The part that takes longest; `none` where there is nothing to do."""
        return max(self.parts_s, key=lambda part: self.parts_s[part]) if self.seconds > 0 else "none"

    def to_json(self) -> dict[str, object]:
        return {
            "seconds": _digits(self.seconds),
            "parts_s": {part: _digits(value) for part, value in self.parts_s.items()},
            "bottleneck": self.bottleneck,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryExplained:
    """The peak of the fullest GPU."""

    parts_gib: Mapping[str, float]
    need_gib: float
    """What the card must offer: without a cache that merely grows into free memory."""
    p50_gib: float
    p95_gib: float
    limited_by_card: bool
    """The forecast would be larger, but what it is made of gives way to the card's size."""
    learned: Learned
    nearest: tuple[Neighbour, ...]

    @property
    def arithmetic_gib(self) -> float:
        """The sum of the parts."""
        return sum(self.parts_gib.values())

    @property
    def largest(self) -> str:
        """The part that takes most."""
        return max(self.parts_gib, key=lambda part: self.parts_gib[part])

    def to_json(self) -> dict[str, object]:
        return {
            "parts_gib": {part: _digits(value) for part, value in self.parts_gib.items()},
            "arithmetic_gib": _digits(self.arithmetic_gib),
            "need_gib": _digits(self.need_gib),
            "largest": self.largest,
            "learned": self.learned.to_json(),
            "limited_by_card": self.limited_by_card,
            "p50_gib": _digits(self.p50_gib),
            "p95_gib": _digits(self.p95_gib),
            "nearest": [one.to_json() for one in self.nearest],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeExplained:
    """An optimizer step of a training, or the whole of an inference job."""

    of: str
    """`step` or `job`."""
    whole: Phase
    phases: Mapping[str, Phase]
    """`prefill` and `decode` of an inference job, which add up to the whole; empty for a training."""
    p10_s: float
    p50_s: float
    p90_s: float
    learned: Learned
    nearest: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, object]:
        whole = self.whole.to_json()
        return {
            "of": self.of,
            "parts_s": whole["parts_s"],
            "arithmetic_s": whole["seconds"],
            "bottleneck": whole["bottleneck"],
            "phases": {name: phase.to_json() for name, phase in self.phases.items()},
            "learned": self.learned.to_json(),
            "p10_s": _digits(self.p10_s),
            "p50_s": _digits(self.p50_s),
            "p90_s": _digits(self.p90_s),
            "nearest": [one.to_json() for one in self.nearest],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Of one training or inference forecast."""

    memory: MemoryExplained
    time: TimeExplained

    def to_json(self) -> dict[str, object]:
        """As it stands beside a forecast in answers."""
        return {"memory": self.memory.to_json(), "time": self.time.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomExplanation:
    """Of the forecast of a custom job, which has no arithmetic: where it begins and what corrected it."""

    kind: str
    stated_runtime_s: float | None
    stated_vram_gib: float | None
    past_jobs: int
    """Own jobs of the kind that it was compared with."""
    trained_on: int
    """Jobs of the kind that the bundle had learned from; 0 where what it learned says nothing of this one."""
    nearest: tuple[Neighbour, ...]
    """Of the past jobs."""

    def to_json(self) -> dict[str, object]:
        return {
            "custom": {
                "kind": self.kind,
                "stated_runtime_s": _digits(self.stated_runtime_s),
                "stated_vram_gib": _digits(self.stated_vram_gib),
                "past_jobs": self.past_jobs,
                "trained_on": self.trained_on,
                "nearest": [one.to_json() for one in self.nearest],
            }
        }


def _digits(value: Said | None) -> Said | None:
    """Four significant digits: an explanation is for reading. Flags, words and None stay."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
