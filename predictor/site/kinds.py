"""Learn the kinds of custom jobs of a site, from rows that can be and from voices that agree.

A site's own slips are told by the spread of their kind. Where several tenants share a predictor, a kind that ships is
corrected as the other tasks are; one that does not is learned only from tenants who agree about it, each with enough
jobs. Whoever is left out is forecast from its own history all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.custom.encoding import learn_encoding
from predictor.custom.kinds import KindModel, with_intercept
from predictor.custom.training import MIN_ROWS, middle_deviation, power_law, timed_by_kind, train_kind
from predictor.gather import Flags, Floats
from predictor.site.fit import voices
from predictor.site.screening import ABSURD, ALONE_TIME, Quarantined, agreed, near
from predictor.telemetry import Observation, owner_of

_SPREADS = 4.0
"""Standard deviations beyond which a run time is absurd, where its kind spreads so widely that the factor is not."""

_NOISE, _ROUNDS = 0.2, 6  # of the fit that an absurd row must not move


def learn_kinds(
    base: Mapping[str, KindModel], observations: Sequence[Observation], *, seed: int, shared: bool
) -> tuple[dict[str, KindModel], list[Quarantined]]:
    """A model of each kind that the site knows enough of, and what was kept out."""
    models: dict[str, KindModel] = {}
    quarantined: list[Quarantined] = []
    for kind, seen in timed_by_kind(observations).items():
        source = np.array([one.source for one in seen])
        measured = np.log([one.runtime_s or 1.0 for one in seen])
        if shared and kind in base:
            missed = measured - base[kind].log_runtime([one.question for one in seen])
            good = near(missed, source, ALONE_TIME, told=np.ones(len(seen), dtype=bool))
            reason = f"it is more than {ALONE_TIME:g} times off the forecast, and no other tenant's jobs bear that out"
        else:
            missed = _missed(seen, measured, voices(source, np.ones(len(seen))))
            good = np.abs(missed - np.median(missed)) <= max(np.log(ABSURD), _SPREADS * middle_deviation(missed))
            reason = f"it is more than {ABSURD:.0f} times off the other jobs of its kind"
            if shared:
                enough = _of_large_owners(source)
                if len({owner_of(str(name)) for name in source[enough]}) < 2:
                    continue  # its owner's history tells it already, and nobody else's
                good &= agreed(missed, source, ALONE_TIME, told=enough)
                reason = "no other tenant's jobs of its kind bear it out"
        quarantined += [
            Quarantined(id=one.id, source=one.source, task=None, reason=reason)
            for one, kept in zip(seen, good.tolist(), strict=True)
            if not kept
        ]
        if good.sum() >= MIN_ROWS:
            kept_in = [one for one, kept in zip(seen, good.tolist(), strict=True) if kept]
            models[kind] = train_kind(kind, kept_in, seed, voices(source[good], np.ones(len(kept_in))))
    return models, quarantined


def _of_large_owners(source: NDArray[np.str_]) -> Flags:
    """Rows of owners who have enough jobs of a kind to be heard about it."""
    _, owner = np.unique([owner_of(str(name)) for name in source], return_inverse=True)
    large: Flags = (np.bincount(owner) >= MIN_ROWS)[owner]
    return large


def _missed(seen: Sequence[Observation], measured: Floats, weights: Floats) -> Floats:
    """What a power law misses that wild rows do not move: Student's t by reweighting."""
    questions = [one.question for one in seen]
    rows = with_intercept(learn_encoding(questions).encode(questions))
    missed: Floats = measured - np.median(measured)
    for _ in range(_ROUNDS):
        tail = 3.0 / (2.0 + (missed / _NOISE) ** 2)
        missed = measured - rows @ power_law(rows, measured, weights * tail)
    return missed
