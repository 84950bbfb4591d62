"""Draw what a simulated provider will find, around the forecast that the placement was chosen by.

Time and memory are log-normal through the forecast's quantiles, each side of the median with its own
spread. Seeded: the same seed, job and attempt give the same truth on every machine.

- What a job *needs* is a property of the job: its deviation is drawn once per job, so a job that ran out
  of memory on one card does not fit the next by luck.
- How long a run *takes* and when memory runs out differ from attempt to attempt.
- Whether memory suffices is decided by the forecast's own `fit_probability` where it has one: the peak
  may hold a cache that grows into free memory, the need does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from scheduler.domain.attempt import AttemptWork
from workers.supervision.truth import Truth

_NORMAL = NormalDist()
_Z90 = _NORMAL.inv_cdf(0.90)
_Z95 = _NORMAL.inv_cdf(0.95)
_OOM_WITHIN = 0.2
"""Memory runs out evenly in the first fifth of the run, since most allocations come with the first steps: assumed."""


class NothingToDraw(Exception):
    """A forecast says too little to stand in for a run; the message is one sentence."""


def draw_truth(work: AttemptWork, *, seed: int, time_scale: float, others_gib: float = 0.0) -> Truth:
    """The truth of one attempt. What the spec's `simulation` states is taken as it is; its seed names the job too,
    so that a spec submitted again meets the same fate.

    `others_gib` is what others on its card need of it: whoever comes last runs out of memory. Each takes as long as it
    does alone: how they slow each other down is not drawn.
    """
    told = work.spec.simulation
    if told is not None and told.seed is not None:
        job, attempt = f"{told.seed}", f"{told.seed}/{work.number}"
    else:
        job, attempt = f"{seed}/{work.job_id}", f"{seed}/{work.attempt_id}"
    forecast = work.forecast
    need = draw_share(job, "need")
    peak = told.peak_vram_gib if told else None
    whole = work.usable_vram_gib
    usable = whole if whole is None else max(0.0, whole - others_gib)
    if peak is not None:
        suffices = usable is None or peak <= usable
    else:
        peak = _peak_gib(forecast, need)
        suffices = _suffices(forecast, need, peak, usable) and (
            not others_gib or peak is None or peak <= (usable or 0.0)
        )
        if suffices and peak is not None and usable is not None:
            peak = min(peak, usable)  # a cache stops growing where the card ends
    runtime_s = told.runtime_s if told else None
    if runtime_s is None:
        runtime_s = _runtime_s(forecast, draw_share(attempt, "time"))
    startup_s = float(forecast.get("startup_s") or 0.0)
    fails_after = startup_s + runtime_s * _OOM_WITHIN * draw_share(attempt, "moment")
    return Truth(
        startup_s=startup_s,
        runtime_s=runtime_s,
        peak_vram_gib=peak,
        usable_vram_gib=usable,
        out_of_memory_s=None if suffices else fails_after,
        time_scale=time_scale,
    )


def log_normal(share: float, *, p50: float, low: tuple[float, float], high: tuple[float, float]) -> float:
    """The value below which a `share` of draws lies, for a median and one quantile (value, its z) on either side."""
    z = _NORMAL.inv_cdf(share)
    value, at = low if z < 0 else high
    return float(p50 * (value / p50) ** (z / at))


def draw_share(*names: str) -> float:
    """An even number strictly between 0 and 1, fixed by its names."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return (int.from_bytes(digest[:6]) + 0.5) / 2**48


def _peak_gib(forecast: Mapping[str, Any], share: float) -> float | None:
    vram = forecast.get("peak_vram_gib") or {}
    p50, p95 = vram.get("p50"), vram.get("p95")
    if not p50 or not p95:
        return None
    high = (float(p95), _Z95)
    # only the upper quantile is forecast: the spread below the median is taken to be the same
    return log_normal(share, p50=p50, low=(float(p50) ** 2 / float(p95), -_Z95), high=high)


def _suffices(forecast: Mapping[str, Any], share: float, peak: float | None, usable: float | None) -> bool:
    if usable is None or peak is None:
        return True
    fits = forecast.get("fit_probability")
    return share <= fits if fits is not None else peak <= usable


def _runtime_s(forecast: Mapping[str, Any], share: float) -> float:
    runtime = forecast.get("runtime_s") or {}
    p10, p50, p90 = (runtime.get(name) for name in ("p10", "p50", "p90"))
    if not p10 or not p50 or not p90:
        raise NothingToDraw("the forecast has no runtime, so a simulated provider cannot say how long the job lasts")
    return log_normal(share, p50=float(p50), low=(float(p10), -_Z90), high=(float(p90), _Z90))
