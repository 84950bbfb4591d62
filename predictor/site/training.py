"""Train for a site: what was learned elsewhere stays as it is, and the site's own observations correct it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from predictor.bundle import Bundle, make_bundle
from predictor.errors import NotEnoughData
from predictor.features import Task
from predictor.learned.samples import every_sample
from predictor.site.fit import learn
from predictor.site.kinds import learn_kinds
from predictor.site.residual import Site
from predictor.site.screening import Quarantined, borne_out, screen
from predictor.telemetry import Observation
from predictor.training import sources_of


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
    shared: bool = False,
    metrics: Mapping[str, Any] | None = None,
) -> Lesson:
    """Learn every task and custom kind that the site measured, whatever site `base` knew before.

    `contributors` names who gave each observation, by default its source: none of them outweighs all the others.
    `shared` says that several owners are forecast by the bundle, so that none of them may move it far alone.
    """
    given = observations if contributors is None else _signed(observations, contributors)
    sites: dict[Task, Site] = {}
    quarantined: list[Quarantined] = []
    for task in Task:
        found, kept_out = screen(task, every_sample(task, given))
        quarantined += kept_out
        correction = base.corrections.get(task)
        if shared and len(found):
            shift = correction.correct(found.rows).shift if correction else np.zeros(len(found))
            found, kept_out = borne_out(task, found, shift)
            quarantined += kept_out
        site = learn(task, found, correction) if len(found) else None
        if site:
            sites[task] = site
    own_kinds, kept_out = learn_kinds(base.kinds, given, seed=seed, shared=shared)
    quarantined += kept_out
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


def _signed(observations: Sequence[Observation], contributors: Sequence[str]) -> list[Observation]:
    """The observations under their contributors' names, which decide what is a repeat and who outweighs whom."""
    return [
        replace(observation, source=contributor)
        for observation, contributor in zip(observations, contributors, strict=True)
    ]
