"""Champion against challenger on the same jobs, which neither has seen or both have, by a paired test.

Every owner has the same say, however many jobs it sent and under however many names, and within it every contributor;
none of them may be made worse, nor any quantity: otherwise whoever sends most would decide what is true for all.

A pair is a run of a job with all that was measured of it; memory and time of one run do not testify twice. Runs of one
configuration make up to five pairs, the sixth being averaged with the first: a site of one nightly job can prove
something by it, and a job of three hundred nights speaks no louder among others than one of five. Five pairs are the
fewest that can decide, for one half to the fifth power is below the level asked. So little evidence is enough because
what few jobs teach is shrunk towards the champion's word by the prior of the site, which bounds the harm of a chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.bundle import Bundle
from predictor.errors import NotEnoughData
from predictor.forecast import Forecast
from predictor.gather import Flags, Floats
from predictor.model import Answer, Predictor
from predictor.telemetry import Observation, owner_of
from predictor.workload import InferenceWorkload, TrainingWorkload

LEAST_PAIRS = 5
"""To prove anything, and to object: all of five chances fall on one side once in 32."""

RUNS = 5
"""Pairs that one configuration makes at most."""

LEVEL = 0.05

LEAST_GAIN = 0.02
"""Share of the champion's error that a challenger must take away: what is hardly better is not worth a change."""

LEAST_DIFFERENCE = 0.005
"""Mean gain, a difference of logarithms, that it must come to as well: runs of one job differ by more than half a per
cent, so a champion that is as near as that cannot be improved."""

LEAST_LOSS = 0.02
"""Mean loss of a slice, a difference of logarithms, below which it has nothing to object to."""

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
    """Median of |log(measured / forecast)| over runs and quantities, as a share."""
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
    """One entry for each pair and quantity."""

    champion: Floats
    challenger: Floats
    quantity: NDArray[np.str_]
    gpu_type: NDArray[np.str_]
    contributor: NDArray[np.str_]
    configuration: NDArray[np.str_]
    pair: NDArray[np.intp]
    """Which pair each entry belongs to."""

    def by(self, labels: NDArray[np.str_]) -> dict[str, Pair]:
        """Median errors of each label's configurations."""
        return {str(label): self.of(labels == label) for label in np.unique(labels)}

    def of(self, chosen: Flags) -> Pair:
        """Median errors of some entries."""
        return Pair(
            configurations=len(np.unique(self.configuration[chosen])),
            champion_error=float(np.median(self.champion[chosen])),
            challenger_error=float(np.median(self.challenger[chosen])),
        )

    def lost(self, chosen: Flags) -> Floats:
        """What each pair of some entries loses by the challenger."""
        _, place = np.unique(self.pair[chosen], return_inverse=True)
        lost = (self.challenger - self.champion)[chosen]
        means: Floats = np.bincount(place, lost) / np.bincount(place)
        return means


def compare(
    champion: Bundle | None,
    challenger: Bundle,
    held_out: Sequence[Observation],
    *,
    contributors: Sequence[str] | None = None,
    learned_without: Sequence[Bundle] | None = None,
    seed: int = 7,
) -> Comparison:
    """Compare two bundles; without a champion arithmetic stands in for it.

    `contributors` names who gave each observation, by default its source; what is before a slash is the owner.
    `learned_without` is for each observation the challenger as learned without it, where the challenger itself has seen
    it and the champion has not.
    """
    if not held_out:
        raise NotEnoughData("there are no held-out observations to compare on")
    questions = [observation.question for observation in held_out]
    theirs = Predictor(champion)
    ours = _each_by_its_own(learned_without or [challenger] * len(held_out), held_out)
    errors = _errors(ours, theirs.answer(questions), held_out, contributors or [one.source for one in held_out])
    everything = np.ones(len(errors.champion), dtype=bool)
    lost = errors.lost(everything) if len(everything) else np.empty(0)
    if len(lost) < LEAST_PAIRS:
        raise NotEnoughData(f"{len(lost)} held-out jobs are too few to compare on; {LEAST_PAIRS} are needed")
    _, first = np.unique(errors.pair, return_index=True)
    weights = _weights(errors.contributor[first])
    p_value = sign_flip(-lost * weights, seed)
    before = np.bincount(errors.pair, errors.champion) / np.bincount(errors.pair)
    gained = -float(np.average(lost, weights=weights))
    enough = gained >= max(LEAST_DIFFERENCE, LEAST_GAIN * float(np.average(before, weights=weights)))
    worse_for = tuple(
        dict.fromkeys(
            str(label)
            for slices in (errors.quantity, errors.contributor, _owners(errors.contributor))
            for label in np.unique(slices)
            if _objects(errors.lost(slices == label), seed)
        )
    )
    better = p_value <= LEVEL and enough and not worse_for
    word = "is better" if better else "is not shown to be better"
    blame = f", and worse for {' and '.join(worse_for)}" if worse_for else ""
    total = errors.of(everything)
    return Comparison(
        better=better,
        verdict=(
            f"{challenger.version} {word} than {theirs.version} on {len(lost)} held-out runs of "
            f"{total.configurations} configurations: median error {100 * total.challenger_error:.1f} % against "
            f"{100 * total.champion_error:.1f} % (p = {p_value:.3g}){blame}"
        ),
        configurations=total.configurations,
        champion_error=total.champion_error,
        challenger_error=total.challenger_error,
        p_value=p_value,
        by_quantity=errors.by(errors.quantity),
        by_gpu_type=errors.by(errors.gpu_type),
        by_contributor=errors.by(errors.contributor),
        worse_for=worse_for,
    )


def _objects(lost: Floats, seed: int) -> bool:
    return len(lost) >= LEAST_PAIRS and float(lost.mean()) > LEAST_LOSS and sign_flip(lost, seed) <= LEVEL


def _owners(contributors: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.array([owner_of(str(name)) for name in contributors], dtype=np.str_)


def _weights(contributors: NDArray[np.str_]) -> Floats:
    """The same for every owner, divided among its contributors, and among each one's pairs."""
    _, owner = np.unique(_owners(contributors), return_inverse=True)
    _, first, contributor = np.unique(contributors, return_index=True, return_inverse=True)
    names = np.bincount(owner[first])
    return np.asarray(1.0 / (np.bincount(contributor)[contributor] * names[owner]))


def _each_by_its_own(bundles: Sequence[Bundle], held_out: Sequence[Observation]) -> list[Answer]:
    """The answer of each observation's own bundle to it."""
    places: dict[int, list[int]] = {}
    for place, bundle in enumerate(bundles):
        places.setdefault(id(bundle), []).append(place)
    found: dict[int, Answer] = {}
    for mine in places.values():
        answers = Predictor(bundles[mine[0]]).answer([held_out[place].question for place in mine])
        found.update(zip(mine, answers, strict=True))
    return [found[place] for place in range(len(bundles))]


def _errors(
    ours: Sequence[Answer], theirs: Sequence[Answer], held_out: Sequence[Observation], contributors: Sequence[str]
) -> _Errors:
    found: dict[tuple[tuple[str, str, int], str, str], list[tuple[float, float]]] = {}
    runs: dict[tuple[str, str], int] = {}
    for observation, contributor, old, new in zip(held_out, contributors, theirs, ours, strict=True):
        job = (contributor, observation.configuration)
        run = runs[job] = runs.get(job, -1) + 1
        for quantity, measured in _measured(observation).items():
            said = [_said(answer, quantity) for answer in (old, new)]
            if said[1] is None:
                continue  # a challenger that says nothing has no error to compare, and gains nothing by it
            # a champion that knew nothing of a job is as wrong as one that said half or double
            missed = [abs(np.log(measured / value)) if value else np.log(2.0) for value in said]
            key = ((*job, run % RUNS), quantity, observation.question.gpu.name)
            found.setdefault(key, []).append((missed[0], missed[1]))
    means = np.array([np.mean(pairs, axis=0) for pairs in found.values()]).reshape(-1, 2)
    numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pair for pair, _, _ in found))}
    names = np.array([(quantity, gpu, *pair[:2]) for pair, quantity, gpu in found], dtype=np.str_).reshape(-1, 4)
    pair = np.array([numbers[pair] for pair, _, _ in found], dtype=np.intp)
    return _Errors(means[:, 0], means[:, 1], names[:, 0], names[:, 1], names[:, 2], names[:, 3], pair)


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
