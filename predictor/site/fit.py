"""Learn a site: the posterior of what forecasts miss there, from its own jobs.

Exact for as many jobs as are kept, and the projected process of Rasmussen and Williams (2006, section 8.3.4) for
more. Noise is Student's t, fitted by reweighting, so that one slip moves nothing; a run out of memory pulls while its
forecast is below the card and is silent above; a contributor never outweighs all the others together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.calibration import lifted
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.correction import Corrected, Correction, uncorrected
from predictor.learned.domain import spread_out
from predictor.learned.samples import Samples
from predictor.quantiles import MEMORY_MARGIN, P10, P90, P95, TIME_MARGIN
from predictor.site.kernel import KERNELS, Kernel, Points, covariance, points, settleable, settleable_at_most
from predictor.site.residual import Site
from predictor.telemetry import owner_of
from predictor.threads import one_thread

KNOWN = 200
"""Jobs that a forecast is compared with: more are projected onto so many, and would only cost time."""

_ANCHORS = 64
_EXAMINED = 600  # jobs that noise and width are chosen by
_FREEDOM = 2.0  # of Student's t: telemetry is full of slips
_ROUNDS = 6
_NOISES = (0.03, 0.05, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6)
_NOISE_GUESS, _NOISE_DOUBT = 0.2, 0.5  # before any job of the site, and how wrong that may be as a logarithm
_TELLING = 15  # runs of one job; with more, it would carry like jobs that differ along with it
_FREE = 100  # jobs of one contributor before the others' count limits it
_TILTS = (-1.0, 0.5)  # beyond -1 larger jobs could be forecast smaller
_BELIEF = 20.0  # jobs' worth of belief that the bundle's own width is right
_WIDTHS = (0.3, 3.0)
_JITTER = 1e-8
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Cells:
    """A site's jobs, repeats of one contributor taken together; all arrays have the same length."""

    rows: Floats
    residual: Floats
    """Median log(measured / arithmetic) of the repeats."""
    measured: Floats
    """The same repeat's measurement, as a logarithm."""
    lower_bound: Flags
    weight: Floats
    """Runs that each stands for, as far as they tell more of it; less for contributors who sent too much."""
    configuration: NDArray[np.intp]
    """A number for each setting, whatever its card, layout and software."""

    def __len__(self) -> int:
        return len(self.residual)

    def take(self, chosen: NDArray[Any]) -> Cells:
        return Cells(*(getattr(self, field.name)[chosen] for field in fields(self)))


def learn(task: Task, found: Samples, base: Correction | None, kernel: Kernel | None = None) -> Site | None:
    """What a site's samples of a task teach on top of `base`; None where nothing was measured.

    `kernel` is what is believed of sites before, by default what ships.
    """
    cells = cells_of(found)
    if cells.lower_bound.all():
        return None
    with one_thread():
        return _learn(task, found, cells, base, kernel or KERNELS[task])


def _learn(task: Task, found: Samples, cells: Cells, base: Correction | None, kernel: Kernel) -> Site:
    table = task.features
    corrected = base.correct(cells.rows) if base else uncorrected(len(cells))
    seen = points(task, kernel, cells.rows, corrected.shift)
    missed = cells.residual - corrected.shift
    some = evenly(len(cells), _EXAMINED)
    noise = choose_noise(kernel, seen.take(some), cells.take(some), missed[some])
    posterior = _Posterior.fit(_Prior.of(kernel, seen), cells, missed, noise)
    largest = cells.rows[:, table.growing].max(axis=0)
    anchors = posterior.known.take(spread_out(posterior.known.fixed, _ANCHORS))
    return Site(
        task=task,
        kernel=kernel,
        known=posterior.known,
        weights=posterior.weights,
        tilt=float(np.clip(kernel.doubt**2 * posterior.weights @ posterior.known.shift, *_TILTS)),
        anchors=anchors,
        settled=_settled(kernel, anchors, seen, posterior.precision),
        noise=noise,
        sureness=(sureness := len(cells) / (len(cells) + _BELIEF)),
        width=_width(
            task, kernel, base, _take(corrected, some), seen.take(some), cells.take(some), missed[some], noise, sureness
        ),
        largest=np.maximum(largest, base.domain.largest) if base else largest,
        rows=len(found),
        configurations=len(set(found.configuration.tolist())),
    )


def cells_of(found: Samples) -> Cells:
    """A site's samples with repeats taken together, and what each counts."""
    _, sender = np.unique(found.source, return_inverse=True)
    keys = np.column_stack([found.rows.round(6), found.arithmetic.round(6), found.lower_bound, sender])
    _, first, cell = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    cell = cell.ravel()
    order = np.lexsort((found.residuals, cell))
    count = np.bincount(cell)
    middle = order[np.cumsum(count) - count + count // 2]
    return Cells(
        found.rows[first],
        found.residuals[middle],
        found.measured[middle],
        found.lower_bound[first],
        voices(found.source[first], np.minimum(count, _TELLING).astype(np.float64)),
        np.unique(found.configuration[first], return_inverse=True)[1],
    )


def voices(source: NDArray[np.str_], told: Floats) -> Floats:
    """What each row counts: as much as it has told, but no contributor outweighs all the others together."""
    _, sender = np.unique(source, return_inverse=True)
    _, owner = np.unique([owner_of(str(name)) for name in source], return_inverse=True)
    # nor does one under many names: what is allowed to a sender is allowed to its owner too
    return told * np.minimum(_shares(sender, told), _shares(owner, told))


def _shares(group: NDArray[np.intp], told: Floats) -> Floats:
    """Of each row the share at which its group does not outweigh all the others together."""
    sent = np.bincount(group, told)
    # repeats are not free: they count only against what the others told
    free = np.minimum(_FREE, np.bincount(group))
    allowed = np.maximum(free, told.sum() - sent) if len(sent) > 1 else sent
    share: Floats = np.minimum(1.0, allowed / sent)
    return share[group]


@dataclass(frozen=True, slots=True)
class _Prior:
    """A site before anything is said of its noise."""

    known: Points
    factor: Floats
    within: Floats
    """(known, n): covariance in the coordinates of its factor, in which the matrix to invert is one plus something
    positive, however alike jobs are."""

    @classmethod
    def of(cls, kernel: Kernel, seen: Points) -> _Prior:
        known = seen.take(spread_out(np.hstack([seen.fixed, seen.batch, seen.size]), KNOWN))
        factor = _root(covariance(kernel, known, known))
        within = np.asarray(np.linalg.solve(factor, _in_pieces(kernel, known, seen)), dtype=np.float64)
        return cls(known, factor, within)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posterior:
    known: Points
    weights: Floats
    precision: Floats
    """(n,): of each cell, after reweighting."""
    evidence: float
    """Logarithm of the marginal likelihood, up to a constant of the kernel."""

    @classmethod
    def fit(cls, prior: _Prior, cells: Cells, missed: Floats, noise: float) -> _Posterior:
        within, identity = prior.within, np.eye(len(prior.known))
        said = np.zeros(len(cells))
        for _ in range(_ROUNDS):
            miss = missed - said
            tail = _tail(miss, noise)
            precision = cells.weight * tails(miss, cells.lower_bound, noise)
            inner = identity + (within * precision) @ within.T
            pulled = within @ (precision * missed)
            solved = np.linalg.solve(inner, pulled)
            said = within.T @ solved
        alive = precision > 0.0
        tail = tail[alive]
        evidence = -0.5 * (
            np.linalg.slogdet(inner)[1]
            - np.log(precision[alive]).sum()
            + (precision * missed**2).sum()
            - pulled @ solved
            # what the reweighting itself costs: the density of each weight under its gamma
            + (_FREEDOM * (tail - 1.0) - (_FREEDOM + 1.0) * np.log(tail)).sum()
        )
        return cls(
            known=prior.known,
            weights=np.linalg.solve(prior.factor.T, solved),
            precision=precision,
            evidence=float(evidence),
        )


def _tail(miss: Floats, noise: float) -> Floats:
    """What a miss counts under Student's t, against one of no size."""
    return (_FREEDOM + 1.0) / (_FREEDOM + (miss / noise) ** 2)


def tails(miss: Floats, lower_bound: Flags, noise: float) -> Floats:
    """(n,): the precision of each measurement; none of a lower bound that the forecast is above already."""
    return np.where(lower_bound & (miss <= 0.0), 0.0, _tail(miss, noise)) / noise**2


def _root(positive: Floats) -> Floats:
    """Its Cholesky factor; the jitter is for jobs that are alike to the last bit."""
    return np.asarray(np.linalg.cholesky(positive + _JITTER * np.eye(len(positive))), dtype=np.float64)


def _in_pieces(kernel: Kernel, known: Points, seen: Points) -> Floats:
    """(known, n) covariance, made some thousand columns at a time: its parts are as large as itself."""
    return np.hstack([covariance(kernel, known, seen.take(piece)) for piece in _pieces(len(seen))])


def _pieces(count: int) -> list[NDArray[np.intp]]:
    places = np.arange(count)
    return [places[start : start + _AT_ONCE] for start in range(0, count, _AT_ONCE)]


def choose_noise(kernel: Kernel, seen: Points, cells: Cells, missed: Floats) -> float:
    """The noise that explains the site best, given how much such noise is expected before."""
    prior = _Prior.of(kernel, seen)
    return max(_NOISES, key=lambda noise: _believed(prior, cells, missed, noise))


def _believed(prior: _Prior, cells: Cells, missed: Floats, noise: float) -> float:
    unusual = np.log(noise / _NOISE_GUESS) / _NOISE_DOUBT
    return _Posterior.fit(prior, cells, missed, noise).evidence - 0.5 * float(unusual) ** 2


def _settled(kernel: Kernel, anchors: Points, seen: Points, precision: Floats) -> Floats:
    """Factor R of the variance that the jobs explain: of likeness k to the anchors it explains |R k|²."""
    factor = _root(settleable(kernel, anchors, anchors))
    gained = np.zeros((len(anchors), len(anchors)))
    for piece in _pieces(len(seen)):
        within = np.linalg.solve(factor, settleable(kernel, anchors, seen.take(piece)))
        gained += (within * precision[piece]) @ within.T
    values, vectors = np.linalg.eigh(gained)
    values = np.maximum(values, 0.0)
    settled = (np.sqrt(values / (1.0 + values))[:, None] * vectors.T) @ np.linalg.inv(factor)
    return np.asarray(settled, dtype=np.float64)


def _width(
    task: Task, kernel: Kernel, base: Correction | None, corrected: Corrected, seen: Points, cells: Cells,
    missed: Floats, noise: float, sureness: float,
) -> float:  # fmt: skip
    """How much wider or narrower than asked the band must be for settings left out in turn to keep its promise."""
    done = ~cells.lower_bound
    seen, missed, group = seen.take(done), missed[done], cells.configuration[done]
    own = noise**2 / np.maximum(cells.weight[done], 1e-3)
    left_out, _ = _without_own(covariance(kernel, seen, seen), own, missed, group)
    _, unsettled = _without_own(settleable(kernel, seen, seen), own, missed, group)
    most = settleable_at_most(kernel)
    left = ((noise**2 + np.clip(unsettled, 0.0, most)) / (noise**2 + most)) ** (0.5 * sureness)
    calibration = base.calibration if base else (MEMORY_MARGIN if task.is_memory else TIME_MARGIN)
    steps = calibration.quantiles(corrected.distance[done], (P10, P90, P95)) * (corrected.spread[done] * left)[:, None]
    if task.is_memory:
        measured, lift = cells.measured[done], calibration.lift
        over = lifted(measured, lift) - lifted(measured - left_out, lift)
        level, asked = P95, over / np.maximum(steps[:, 2], 1e-3)
    else:
        level = P90 - P10
        asked = np.maximum(left_out / np.maximum(steps[:, 1], 1e-3), left_out / np.minimum(steps[:, 0], -1e-3))
    count = len(asked)
    # a standard error above the rank: left-out jobs are a little more like the others than the next one will be
    rank = level + np.sqrt(level * (1.0 - level) / count)
    found = float(np.quantile(asked, min(1.0, rank)))
    return float(np.clip((count * found + _BELIEF) / (count + _BELIEF), *_WIDTHS))


def _without_own(covered: Floats, own: Floats, missed: Floats, group: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """What a process misses of jobs whose whole group it has not seen, and its variance there without their noise.

    In closed form, a block of the inverse at a time (Rasmussen and Williams 2006, equation 5.12, for one job): a
    setting that was measured on three cards says little of one that was measured on none.
    """
    inverse = np.linalg.inv(covered + np.diag(own))
    pulled = inverse @ missed
    left_out, unsettled = np.empty(len(missed)), np.empty(len(missed))
    for one in np.unique(group):
        at = np.flatnonzero(group == one)
        block = np.linalg.inv(inverse[np.ix_(at, at)])
        left_out[at] = block @ pulled[at]
        unsettled[at] = np.diag(block) - own[at]
    return left_out, unsettled


def _take(corrected: Corrected, chosen: NDArray[Any]) -> Corrected:
    return Corrected(**{name: getattr(corrected, name)[chosen] for name in Corrected.__slots__})


def evenly(count: int, limit: int) -> NDArray[np.intp]:
    """At most `limit` places, evenly spaced over the sorted cells."""
    if count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).astype(np.intp))
