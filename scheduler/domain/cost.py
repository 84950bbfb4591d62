"""What a candidate would take: seconds of a machine and micro-dollars, over the distribution of its run time.

A job pays for its machine from the first second of provisioning to the last second of work, so the use that is
billed is provision + start-up + run time. The expected cost is the mean bill over the run time's distribution plus
what is lost if the job runs out of memory. All candidates are reckoned at once, in whole micro-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.quantiles import LEVELS, Floats, quantile

Micros = NDArray[np.int64]

OOM_SHARE = 0.1
"""Share of the median run time that passes before a job runs out of memory. Most do in the first steps or the first
full batch; some only at the longest input or the first evaluation."""

MAX_SECONDS = 1e8
"""Three years. A forecast beyond it is reckoned as this long and must be refused: it says no more than "never".
With it, $1,000 per GPU-hour and 10,000 GPUs, every sum here stays within 64 bits."""

_PPM = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What is known of each candidate, one cell each. Times in seconds."""

    provision_s: Floats
    startup_s: Floats
    p10_s: Floats
    """Run time without start-up, as are p50 and p90."""
    p50_s: Floats
    p90_s: Floats
    oom_probability: Floats
    micros_per_hour: Micros
    """Of all GPUs of the candidate together."""
    billing_increment_s: Micros
    minimum_s: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What each candidate would take, one cell each."""

    use_p50_s: Floats
    """From the order to the end of the work."""
    use_p90_s: Floats
    p50_micros: Micros
    p90_micros: Micros
    mean_micros: Micros
    """Over the distribution of the run time, if it does not run out of memory."""
    wasted_micros: Micros
    """Lost if it does."""
    expected_micros: Micros
    """Mean + P(out of memory) × wasted: a second try is reckoned to cost about as much as this one."""


def reckon(runs: Runs) -> Costs:
    """Reckon every candidate's times and costs."""
    before = runs.provision_s + runs.startup_s
    levels = {level: quantile(runs.p10_s, runs.p50_s, runs.p90_s, level) for level in (*LEVELS, 0.5, 0.9)}
    bills = {level: _bill(before + run, runs) for level, run in levels.items()}
    mean = np.sum([bills[level] for level in LEVELS], axis=0) // len(LEVELS)
    wasted = _bill(before + OOM_SHARE * runs.p50_s, runs)
    chance = np.rint(runs.oom_probability * _PPM).astype(np.int64)
    return Costs(
        use_p50_s=before + levels[0.5],
        use_p90_s=before + levels[0.9],
        p50_micros=bills[0.5],
        p90_micros=bills[0.9],
        mean_micros=mean,
        wasted_micros=wasted,
        # in two parts, or the product would leave 64 bits for large bills
        expected_micros=mean + wasted // _PPM * chance + wasted % _PPM * chance // _PPM,
    )


def _bill(used_s: Floats, runs: Runs) -> Micros:
    """Micro-dollars for uses of a machine: `money.billed_seconds` and `money.cost_micros` for many at once."""
    used = np.maximum(np.minimum(used_s, MAX_SECONDS), runs.minimum_s)
    billed = (-(-used // runs.billing_increment_s)).astype(np.int64) * runs.billing_increment_s
    return _per_hour(runs.micros_per_hour, billed)


def _per_hour(micros_per_hour: Micros, seconds: Micros) -> Micros:
    """price · seconds / 3600, rounded half-even, without leaving 64 bits: hours and the rest apart."""
    hours, rest = np.divmod(seconds, 3600)
    whole, over = np.divmod(micros_per_hour * rest, 3600)
    total = micros_per_hour * hours + whole
    up = (over > 1800) | ((over == 1800) & (total % 2 == 1))
    return np.asarray(total + up, dtype=np.int64)
