"""Champion against challenger on the same held-out jobs, by a paired test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from predictor.bundle import Bundle
from predictor.errors import NotEnoughData
from predictor.forecast import Forecast
from predictor.gather import Floats
from predictor.model import Predictor
from predictor.telemetry import Observation
from predictor.workload import InferenceWorkload, TrainingWorkload

MIN_PAIRS = 8
"""Fewer configurations cannot make a sign-flip test significant at the level asked."""

LEVEL = 0.05
_FLIPS = 10_000


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
    by_quantity: Mapping[str, tuple[float, float]]
    """Champion's and challenger's median error by quantity."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def compare(
    champion: Bundle | None, challenger: Bundle, held_out: Sequence[Observation], *, seed: int = 7
) -> Comparison:
    """Compare two bundles on observations that neither has seen; without a champion arithmetic stands in for it."""
    if not held_out:
        raise NotEnoughData("there are no held-out observations to compare on")
    ours, theirs = Predictor(challenger), Predictor(champion)
    errors = _errors(ours, theirs, held_out)
    pairs = np.array([pair for by_configuration in errors.values() for pair in by_configuration.values()])
    if len(pairs) < MIN_PAIRS:
        raise NotEnoughData(f"{len(pairs)} held-out configurations are too few to compare on; {MIN_PAIRS} are needed")
    old, new = pairs[:, 0], pairs[:, 1]
    p_value = _sign_flip(old - new, seed)
    better = bool(p_value <= LEVEL and new.mean() < old.mean())
    by_quantity = {
        quantity: (float(np.median([a for a, _ in found.values()])), float(np.median([b for _, b in found.values()])))
        for quantity, found in sorted(errors.items())
    }
    word = "is better" if better else "is not shown to be better"
    return Comparison(
        better=better,
        verdict=(
            f"{challenger.version} {word} than {theirs.version} on {len(pairs)} held-out configurations: "
            f"median error {100 * np.median(new):.1f} % against {100 * np.median(old):.1f} % (p = {p_value:.3g})"
        ),
        configurations=len(pairs),
        champion_error=float(np.median(old)),
        challenger_error=float(np.median(new)),
        p_value=p_value,
        by_quantity=by_quantity,
    )


def _errors(
    ours: Predictor, theirs: Predictor, held_out: Sequence[Observation]
) -> dict[str, dict[str, tuple[float, float]]]:
    """(champion, challenger) error of each configuration by quantity; repeats are averaged."""
    questions = [observation.question for observation in held_out]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for observation, old, new in zip(held_out, theirs.answer(questions), ours.answer(questions), strict=True):
        for quantity, measured in _measured(observation).items():
            said = [_said(answer, quantity) for answer in (old, new)]
            if said[1] is None:
                continue  # a challenger that says nothing has no error to compare, and gains nothing by it
            # a champion that knew nothing of a job is as wrong as one that said half or double
            missed = [abs(np.log(measured / value)) if value else np.log(2.0) for value in said]
            found.setdefault(quantity, {}).setdefault(observation.configuration, []).append((missed[0], missed[1]))
    return {
        quantity: {
            name: (float(np.mean([a for a, _ in pairs])), float(np.mean([b for _, b in pairs])))
            for name, pairs in by_configuration.items()
        }
        for quantity, by_configuration in found.items()
    }


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


def _sign_flip(differences: Floats, seed: int) -> float:
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
