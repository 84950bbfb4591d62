"""Champion against challenger on the same held-out jobs, by a paired test.

Every owner has the same say, however many jobs it sent and under however many names, and within it every contributor;
none of them may be made worse, nor any quantity: otherwise whoever sends most would decide what is true for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.bundle import Bundle
from predictor.errors import NotEnoughData
from predictor.forecast import Forecast
from predictor.gather import Floats
from predictor.model import Predictor
from predictor.telemetry import Observation, owner_of
from predictor.workload import InferenceWorkload, TrainingWorkload

MIN_PAIRS = 8
"""Fewer configurations cannot make a sign-flip test significant at the level asked."""

LEAST_VETO = 5
"""Configurations and quantities, all of them forecast worse, that are enough to object: one half to the fifth power is
below the level asked."""

LEVEL = 0.05

LEAST_GAIN = 0.02
"""Share of the champion's error that a challenger must take away: what is hardly better is not worth a change."""

_FLIPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Errors of a slice of held-out configurations, as shares."""

    configurations: int
    champion_error: float
    challenger_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The verdict on a challenger."""

    better: bool
    verdict: str
    """One sentence for people."""
    configurations: int
    champion_error: float
    """Median of |log(measured / forecast)| over configurations and quantities, as a share."""
    challenger_error: float
    p_value: float
    """Of the challenger's errors being as large as the champion's."""
    by_quantity: Mapping[str, Pair]
    by_gpu_type: Mapping[str, Pair]
    by_contributor: Mapping[str, Pair]
    worse_for: tuple[str, ...]
    """Quantities and contributors that the challenger forecasts significantly worse; any of them keeps the champion."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Errors:
    """One entry for each held-out configuration and quantity; repeats are averaged."""

    champion: Floats
    challenger: Floats
    quantity: NDArray[np.str_]
    gpu_type: NDArray[np.str_]
    contributor: NDArray[np.str_]

    @property
    def owner(self) -> NDArray[np.str_]:
        """Who stands behind each entry's contributor."""
        return np.array([owner_of(str(name)) for name in self.contributor], dtype=np.str_)

    @property
    def weights(self) -> Floats:
        """The same for every owner, divided among its contributors, and among each one's entries."""
        _, owner = np.unique(self.owner, return_inverse=True)
        _, first, contributor = np.unique(self.contributor, return_index=True, return_inverse=True)
        names = np.bincount(owner[first])
        return np.asarray(1.0 / (np.bincount(contributor)[contributor] * names[owner]))

    def by(self, labels: NDArray[np.str_]) -> dict[str, Pair]:
        """Median errors of each label's configurations."""
        return {
            str(label): Pair(
                configurations=int((labels == label).sum()),
                champion_error=float(np.median(self.champion[labels == label])),
                challenger_error=float(np.median(self.challenger[labels == label])),
            )
            for label in np.unique(labels)
        }


def compare(
    champion: Bundle | None,
    challenger: Bundle,
    held_out: Sequence[Observation],
    *,
    contributors: Sequence[str] | None = None,
    witnesses: Sequence[Observation] = (),
    witness_contributors: Sequence[str] | None = None,
    seed: int = 7,
) -> Comparison:
    """Compare two bundles on observations that neither has seen; without a champion arithmetic stands in for it.

    `contributors` names who gave each observation, by default its source; what is before a slash is the owner.
    `witnesses` are observations that the challenger has learned from, of those who have too few held-out ones to speak
    for themselves: they count neither for nor against it, unless it is worse even for them.
    """
    if not held_out:
        raise NotEnoughData("there are no held-out observations to compare on")
    ours, theirs = Predictor(challenger), Predictor(champion)
    errors = _errors(ours, theirs, held_out, contributors or [one.source for one in held_out])
    count = len(errors.champion)
    if count < MIN_PAIRS:
        raise NotEnoughData(f"{count} held-out configurations are too few to compare on; {MIN_PAIRS} are needed")
    gained = errors.champion - errors.challenger
    weights = errors.weights
    p_value = sign_flip(gained * weights, seed)
    told = _errors(ours, theirs, witnesses, witness_contributors or [one.source for one in witnesses])
    lost = np.concatenate([-gained, told.challenger - told.champion])
    worse_for = tuple(
        dict.fromkeys(
            str(label)
            for slices in (
                np.concatenate([errors.quantity, np.full(len(told.champion), "")]),
                np.concatenate([errors.contributor, told.contributor]),
                np.concatenate([errors.owner, told.owner]),
            )
            for label in np.unique(slices)
            if label and (mine := lost[slices == label]).size >= LEAST_VETO and sign_flip(mine, seed) <= LEVEL
        )
    )
    gain = float(np.average(gained, weights=weights) / max(np.average(errors.champion, weights=weights), 1e-12))
    better = p_value <= LEVEL and gain >= LEAST_GAIN and not worse_for
    word = "is better" if better else "is not shown to be better"
    blame = f", and worse for {' and '.join(worse_for)}" if worse_for else ""
    old, new = float(np.median(errors.champion)), float(np.median(errors.challenger))
    return Comparison(
        better=better,
        verdict=(
            f"{challenger.version} {word} than {theirs.version} on {count} held-out configurations: "
            f"median error {100 * new:.1f} % against {100 * old:.1f} % (p = {p_value:.3g}){blame}"
        ),
        configurations=count,
        champion_error=old,
        challenger_error=new,
        p_value=p_value,
        by_quantity=errors.by(errors.quantity),
        by_gpu_type=errors.by(errors.gpu_type),
        by_contributor=errors.by(errors.contributor),
        worse_for=worse_for,
    )


def _errors(
    ours: Predictor, theirs: Predictor, held_out: Sequence[Observation], contributors: Sequence[str]
) -> _Errors:
    questions = [observation.question for observation in held_out]
    found: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    answers = zip(held_out, contributors, theirs.answer(questions), ours.answer(questions), strict=True)
    for observation, contributor, old, new in answers:
        for quantity, measured in _measured(observation).items():
            said = [_said(answer, quantity) for answer in (old, new)]
            if said[1] is None:
                continue  # a challenger that says nothing has no error to compare, and gains nothing by it
            # a champion that knew nothing of a job is as wrong as one that said half or double
            missed = [abs(np.log(measured / value)) if value else np.log(2.0) for value in said]
            key = (quantity, observation.question.gpu.name, contributor, observation.configuration)
            found.setdefault(key, []).append((missed[0], missed[1]))
    means = np.array([np.mean(pairs, axis=0) for pairs in found.values()]).reshape(-1, 2)
    names = np.array(list(found), dtype=np.str_).reshape(-1, 4)
    return _Errors(means[:, 0], means[:, 1], names[:, 0], names[:, 1], names[:, 2])


def _measured(observation: Observation) -> dict[str, float]:
    kind = {TrainingWorkload: "training", InferenceWorkload: "inference"}.get(
        type(observation.question.workload), "custom"
    )
    found = {
        f"{kind} memory": observation.peak_vram_gib,
        f"{kind} step time": observation.step_time_s,
        f"{kind} runtime": observation.runtime_s,
    }
    return {quantity: value for quantity, value in found.items() if value is not None}


def _said(answer: object, quantity: str) -> float | None:
    if not isinstance(answer, Forecast):
        return None
    if quantity.endswith("memory"):
        return answer.peak_vram.p50_gib if answer.peak_vram else None
    spread = answer.step_time_s if quantity.endswith("step time") else answer.runtime_s
    return spread.p50 if spread else None


def sign_flip(differences: Floats, seed: int) -> float:
    """One-sided p-value of a positive mean under random signs (Fisher's randomisation test)."""
    generator = np.random.default_rng(seed)
    observed = differences.mean()
    signs = generator.choice((-1.0, 1.0), size=(_FLIPS, len(differences))) if len(differences) <= 2000 else None
    if signs is None:
        # many pairs: the mean is normal, and the table of signs would not fit
        deviation = np.sqrt((differences**2).sum()) / len(differences)
        flipped = generator.normal(0.0, max(deviation, 1e-12), size=_FLIPS)
    else:
        flipped = (signs * differences).mean(axis=1)
    return float((1 + (flipped >= observed - 1e-15).sum()) / (1 + _FLIPS))
