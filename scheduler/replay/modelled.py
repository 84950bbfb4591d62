"""The modelled world: a trace's arrivals and durations, with workloads that nobody recorded.

Each job draws a workload from a mix. Its run time on a card is the forecast times a draw from the residuals that the
predictor left on groups it had not seen, its need of memory likewise, and its amount of work is such that on the
reference card, on as many GPUs as the trace says, it takes as long as the trace says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from predictor.bundle import Bundle
from predictor.hardware import GpuCatalogue
from predictor.model import Predictor
from scheduler.domain.arrays import Ints
from scheduler.domain.candidates import enumerate_candidates
from scheduler.domain.fit import Tried
from scheduler.domain.money import usd_to_micros
from scheduler.domain.spec import Constraints
from scheduler.replay.errors import InvalidReplay
from scheduler.replay.market import Market
from scheduler.replay.menu import Kind, Menu, Rows, fastest_on_each_terms
from scheduler.replay.mix import Part
from scheduler.replay.residuals import memory_residuals, time_residuals
from scheduler.replay.trace import Trace
from scheduler.replay.world import Class, Jobs, Truth, World

REFERENCE = "A100-80GB"
"""The card whose users are imagined to have written the trace: the one with most measurements behind its forecasts."""

LIKELY = 0.5
"""A user takes GPUs on which the job more likely fits than not; sometimes it does not."""

DEADLINES = (1.2, 5.0)
"""Times what the job takes on the reference card, from order to end: drawn evenly from this range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a modelled world is made of."""

    market: Market
    gpus: GpuCatalogue
    bundle: Bundle | None
    mix: Sequence[Part]
    reference: str = REFERENCE
    """A GPU type, or a bare name for any of its variants."""
    min_fit_probability: float = Constraints().min_fit_probability
    out_of_memory_usd: Decimal = Constraints().out_of_memory_usd


def build_modelled(trace: Trace, recipe: Recipe, *, seed: int) -> World:
    """The world of a trace; equal seeds give equal worlds."""
    generator = np.random.default_rng(seed)
    usual_count, sold = _usual_counts(trace, recipe)
    classes: list[Class] = []
    kind = np.empty(len(trace), dtype=np.int64)
    draws = generator.random((4, len(trace)))
    predictor = Predictor(recipe.bundle)
    for most in sorted({_most_gpus(count) for count in sold}):
        made = [_class(part, most, recipe, predictor) for part in recipe.mix]
        for count in (count for count in sold if _most_gpus(count) == most):
            jobs = np.flatnonzero(usual_count == count)
            fitting = [place for place, one in enumerate(made) if _fits(one, count)]
            if not fitting and len(jobs):
                raise InvalidReplay(f"nothing of the mix fits {count} × {recipe.reference}")
            shares = np.cumsum([recipe.mix[place].share for place in fitting])
            drawn = np.searchsorted(shares, draws[0, jobs] * shares[-1], side="right")
            kind[jobs] = len(classes) + np.array(fitting)[drawn]
        classes += made
    capped = int((trace.gpu_count > usual_count).sum())
    notes = [
        f"workloads drawn from a mix of {len(recipe.mix)}; nothing in the trace says what its jobs were",
        f"durations are those on as many {recipe.reference} as the trace says, the cheapest that is sold",
        "jobs fit as often, take and need as much on average as forecast: a bias shows in the measured replay alone",
    ]
    if recipe.out_of_memory_usd:
        notes.append(
            f"a crash is reckoned to cost ${recipe.out_of_memory_usd} beside machines, so that Pythia avoids it; "
            "no figure holds that sum"
        )
    if capped:
        notes.append(f"{capped} jobs asked for more GPUs than any offer sells, and take the most that is sold")
    return World(
        market=recipe.market, classes=tuple(classes), basis="modelled", reference=recipe.reference,
        jobs=_jobs(trace, recipe, classes, kind, usual_count, draws, generator),
        crash_micros=usd_to_micros(recipe.out_of_memory_usd), notes=tuple(notes),
    )  # fmt: skip


def _usual_counts(trace: Trace, recipe: Recipe) -> tuple[Ints, list[int]]:
    """The least count of the reference card that is sold and no less than the trace's; the most where none is."""
    mine = np.flatnonzero(recipe.market.of_type(recipe.reference)).tolist()
    sold = sorted({recipe.market.terms[at].gpu_count for at in mine})
    if not sold:
        raise InvalidReplay(f"no offer sells {recipe.reference} on demand; name another reference card")
    counts = np.array(sold, dtype=np.int64)
    usual = counts[np.minimum(np.searchsorted(counts, trace.gpu_count), len(counts) - 1)]
    return usual, sorted(set(usual.tolist()))


def _most_gpus(usual_count: int) -> int:
    """How many GPUs a job may have: as many as any job by default, more where its user takes more."""
    return max(Constraints().max_gpus, usual_count)


def _class(part: Part, most_gpus: int, recipe: Recipe, predictor: Predictor) -> Class:
    constraints = Constraints(max_gpus=most_gpus, min_fit_probability=recipe.min_fit_probability)
    proposals = enumerate_candidates(constraints, part.workload, recipe.market.inventory, recipe.gpus)
    forecasts = tuple(predictor.forecast(proposals.questions))
    kind = Kind(recipe.market, constraints, proposals, forecasts)
    menu = kind.menu
    asked = [forecasts[place] for place in menu.question.tolist()]
    cards = {gpu.name: place for place, gpu in enumerate(recipe.gpus)}
    terms = recipe.market.terms

    def tried_at(row: int) -> Tried:
        vram = asked[row].peak_vram
        return Tried(
            gpu_type=terms[int(menu.terms[row])].gpu_type,
            layout=asked[row].layout,
            usable_gib=asked[row].usable_vram_gib,
            need_p50_gib=vram.p50_gib if vram else None,
        )

    return Class(
        name=part.name,
        menu=menu,
        truth=Truth(
            run_s=menu.p50_s,
            fit=menu.fit,
            usable_gib=np.array([one.usable_vram_gib or 0.0 for one in asked]),
            peak_gib=np.array([one.peak_vram.p50_gib if one.peak_vram else 0.0 for one in asked]),
            card=np.array([cards[one.gpu_type] for one in asked], dtype=np.int64),
            gpu_type=tuple(one.gpu_type for one in asked),
            time=time_residuals(recipe.bundle, part.workload, forecasts),
            memory=memory_residuals(recipe.bundle, part.workload, forecasts),
        ),
        usual=_usual_rows(menu, recipe),
        again=kind.after,
        tried_at=tried_at,
    )


def _usual_rows(menu: Menu, recipe: Recipe) -> dict[int, Rows]:
    """For each count of the reference card, on each terms of it: the fastest layout that fits, else the likeliest."""
    mine = recipe.market.of_type(recipe.reference)[menu.terms]
    rows: dict[int, Rows] = {}
    for count in sorted(set(menu.gpu_count[mine].tolist())):
        here = mine & (menu.gpu_count == count)
        fits = here & menu.accepted
        best = here & (menu.fit >= menu.fit[here].max())
        rows[count] = fastest_on_each_terms(menu, fits if fits.any() else best)
    return rows


def _fits(one: Class, count: int) -> bool:
    return count in one.usual and float(one.menu.fit[one.usual[count]].max()) >= LIKELY


def _jobs(
    trace: Trace,
    recipe: Recipe,
    classes: Sequence[Class],
    kind: Ints,
    usual_count: Ints,
    draws: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    generator: np.random.Generator,
) -> Jobs:
    time_level = generator.random((len(trace), len(tuple(recipe.gpus))))
    # a job that fits nowhere was not in the trace
    need_level = draws[1] * np.array([one.truth.fit.max() for one in classes])[kind]
    undone = Jobs(
        ids=trace.ids, submit_s=trace.submit_s, deadline_s=np.full(len(trace), np.inf), kind=kind,
        work=np.ones(len(trace)), usual_count=usual_count, time_level=time_level, need_level=need_level,
    )  # fmt: skip
    draft = World(
        market=recipe.market, classes=tuple(classes), jobs=undone, basis="modelled", reference=recipe.reference
    )
    unit_s, before_s = np.empty(len(trace)), np.empty(len(trace))
    for place, count in np.unique(np.stack([kind, usual_count], axis=1), axis=0).tolist():
        jobs = np.flatnonzero((kind == place) & (usual_count == count))
        rows = classes[place].usual[count]
        row = int(rows[recipe.market.cheapest(classes[place].menu.terms[rows].tolist())])
        unit_s[jobs] = draft.runs_s(place, jobs, np.array([row]))[:, 0]
        before_s[jobs] = classes[place].menu.provision_s[row] + classes[place].menu.startup_s[row]
    low, high = DEADLINES
    patience = low + (high - low) * draws[2]
    return Jobs(
        ids=trace.ids, submit_s=trace.submit_s, kind=kind, usual_count=usual_count, time_level=time_level,
        need_level=need_level, work=trace.duration_s / unit_s,
        deadline_s=trace.submit_s + patience * (before_s + trace.duration_s),
    )  # fmt: skip
