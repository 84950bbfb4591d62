"""Train for a site: what was learned elsewhere stays as it is, and the site's own observations correct it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from predictor.bundle import Bundle, make_bundle
from predictor.custom.training import train_kinds
from predictor.errors import NotEnoughData
from predictor.features import Task
from predictor.learned.samples import Samples, every_sample
from predictor.site.fit import learn
from predictor.site.residual import Site
from predictor.telemetry import Observation
from predictor.training import sources_of

ABSURD = 20.0
"""A measurement this many times above or below arithmetic is a slip of units, of the keyboard, or a lie."""

_LABEL = 1.1  # a card's label over what it offers: sources mix GB with GiB, but nothing reads more


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A measurement that taught nothing, and why."""

    id: str
    source: str
    task: Task
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A bundle with a site's part, and what was kept out of it."""

    bundle: Bundle
    quarantined: tuple[Quarantined, ...]


def learn_site(
    base: Bundle,
    observations: Sequence[Observation],
    *,
    seed: int,
    created: str,
    git_revision: str,
    contributors: Sequence[str] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Lesson:
    """Learn every task and custom kind that the site measured, whatever site `base` knew before.

    `contributors` names who gave each observation, by default its source: none of them outweighs all the others.
    """
    given = observations if contributors is None else _signed(observations, contributors)
    sites: dict[Task, Site] = {}
    quarantined: list[Quarantined] = []
    for task in Task:
        found, kept_out = screen(task, every_sample(task, given))
        quarantined += kept_out
        site = learn(task, found, base.corrections.get(task)) if len(found) else None
        if site:
            sites[task] = site
    own_kinds = train_kinds(observations, seed=seed)
    if not sites and not own_kinds:
        raise NotEnoughData(
            f"{len(observations)} observations teach nothing yet: give a completed training or inference, or five "
            "custom jobs of one kind"
        )
    bundle = make_bundle(
        base.corrections,
        dict(base.kinds) | own_kinds,
        created=created,
        git_revision=git_revision,
        seed=seed,
        observations=len(observations),
        sources=sources_of(observations),
        metrics=dict(metrics or {}),
        sites=sites,
        base=base.manifest.base or base.version,
    )
    return Lesson(bundle=bundle, quarantined=tuple(quarantined))


def screen(task: Task, found: Samples) -> tuple[Samples, list[Quarantined]]:
    """Part a task's samples into those that can be, and those that cannot with their reasons."""
    off = np.abs(found.residuals) > np.log(ABSURD)
    over = (found.measured > found.usable + np.log(_LABEL)) & ~found.lower_bound & task.is_memory
    quarantined = [
        Quarantined(
            id=str(found.ids[place]),
            source=str(found.source[place]),
            task=task,
            reason=_reason(task, found, place, over=bool(over[place])),
        )
        for place in np.flatnonzero(off | over).tolist()
    ]
    return found.take(~(off | over)), quarantined


def _reason(task: Task, found: Samples, place: int, *, over: bool) -> str:
    value, said = np.exp(found.measured[place]), np.exp(found.arithmetic[place])
    unit = "GiB" if task.is_memory else "s"
    if over:
        return f"{value:.4g} {unit} is more than the card's {np.exp(found.usable[place]):.4g} GiB"
    return f"{value:.4g} {unit} is more than {ABSURD:.0f} times off the {said:.4g} {unit} that arithmetic says"


def _signed(observations: Sequence[Observation], contributors: Sequence[str]) -> list[Observation]:
    """The observations under their contributors' names, which decide what is a repeat and who outweighs whom."""
    return [
        replace(observation, source=contributor)
        for observation, contributor in zip(observations, contributors, strict=True)
    ]
