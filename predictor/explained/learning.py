"""What was learned about each question, layer by layer, and the known jobs that are nearest to it."""

from __future__ import annotations

import numpy as np

from predictor.arithmetic import InferenceArithmetic, TrainingArithmetic
from predictor.explained.explanation import Difference, Layer, Learned, Neighbour
from predictor.explained.naming import label, said
from predictor.features import Task
from predictor.gather import Floats
from predictor.learned.correction import Correction, uncorrected
from predictor.learned.correction import Layer as LearnedLayer
from predictor.site.residual import Site

NEIGHBOURS = 3
"""Known jobs that are named, and no more: the fourth says little."""

DIFFERENCES = 4
"""Features that are named of each."""


def account(
    task: Task,
    arithmetic: TrainingArithmetic | InferenceArithmetic,
    correction: Correction | None,
    site: Site | None,
) -> list[tuple[Learned, tuple[Neighbour, ...]]]:
    """For each question the factors that make its forecast of the arithmetic, and the jobs it is nearest to."""
    count = len(arithmetic.footprint.need_gib)
    if correction is None and site is None:
        nothing = Learned(
            habits=None, particulars=None, site=None, factor=1.0, distance=None, reach=None, beyond={}, spread=1.0
        )
        return [(nothing, ())] * count
    rows = task.features.rows(arithmetic)
    base = correction.correct(rows) if correction else uncorrected(count)
    final = site.refine(rows, base) if site else base
    none: list[Layer | None] = [None] * count
    habits, particulars = none, none
    nearest: list[tuple[Neighbour, ...]] = [()] * count
    if correction:
        table = task.features
        habits = _layers(correction.habits, rows[:, table.habits], base.distance)
        particulars = _layers(correction.particulars, rows, base.distance)
        nearest = _neighbours(task, correction, rows)
    by_site, factor = np.exp(final.shift - base.shift).tolist(), np.exp(final.shift).tolist()
    spread, distance = final.spread.tolist(), base.distance.tolist()
    beyond = _beyond(task, rows, site.largest if site else correction.domain.largest if correction else None)
    return [
        (
            Learned(
                habits=habits[row],
                particulars=particulars[row],
                site=by_site[row] if site else None,
                factor=factor[row],
                distance=distance[row] if correction else None,
                reach=correction.domain.reach if correction else None,
                beyond=beyond[row],
                spread=spread[row],
            ),
            nearest[row],
        )
        for row in range(count)
    ]


def _beyond(task: Task, rows: Floats, largest: Floats | None) -> list[dict[str, float]]:
    if largest is None:
        return [{} for _ in rows]
    names = [label(task.features.names[place]) for place in task.features.growing]
    above = np.exp(rows[:, task.features.growing] - largest).tolist()
    return [{name: over for name, over in zip(names, row, strict=True) if over > 1.0} for row in above]


def _layers(layer: LearnedLayer, columns: Floats, distance: Floats) -> list[Layer | None]:
    told, trust = np.exp(layer.trees.predict(columns)).tolist(), layer.trust.at(distance).tolist()
    return [Layer(told=factor, trust=share) for factor, share in zip(told, trust, strict=True)]


def _neighbours(task: Task, correction: Correction, rows: Floats) -> list[tuple[Neighbour, ...]]:
    table, domain = task.features, correction.domain
    names = [table.names[place] for place in table.fixed]
    fixed = rows[:, table.fixed]
    places = domain.nearest(fixed, NEIGHBOURS)
    apart = domain.apart(fixed, places)
    furthest = np.argsort(-np.abs(apart), axis=2, kind="stable")[:, :, :DIFFERENCES]
    known = domain.references * domain.scales

    def differs(row: int, rank: int) -> tuple[Difference, ...]:
        found = [
            (float(abs(apart[row, rank, column])), int(column))
            for column in furthest[row, rank]
            if apart[row, rank, column]
        ]
        return tuple(
            Difference(
                feature=label(names[column]),
                asked=said(names[column], float(fixed[row, column])),
                known=said(names[column], float(known[places[row, rank], column])),
                apart=distance,
            )
            for distance, column in found
        )

    distances = np.sqrt((apart**2).sum(axis=2)).round(3)
    return [
        tuple(
            Neighbour(
                id=domain.ids[place] if domain.ids else None,
                distance=float(distances[row, rank]),
                differs=differs(row, rank),
            )
            for rank, place in enumerate(chosen)
        )
        for row, chosen in enumerate(places.tolist())
    ]
