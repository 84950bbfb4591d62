"""What a candidate would take: seconds of a machine and micro-dollars, over the distribution of its run time.

A job pays for its machine from the first second of provisioning to the last second of work, so the use that is
billed is provision + start-up + run time, drawn out on interruptible machines by what is expected to be lost and done
again (`spot`). On a machine that is warm the order, the minimum and some seconds are paid for already. What the job
sends out of the provider's network is charged once, where the offer charges for it. The expected cost is that of
getting the job done: the mean bill over the run time's distribution, or, if it runs out of memory, what was wasted and
the bill of the roomier place where it is tried again. All candidates are reckoned at once, in whole micro-dollars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from scheduler.domain.arrays import Flags, Floats
from scheduler.domain.arrays import Ints as Micros
from scheduler.domain.quantiles import LEVELS, given_fit, quantile
from scheduler.domain.spot import slowdown, within

OOM_SHARE = 0.1
"""Share of the median run time that passes before a job runs out of memory. Most do in the first steps or the first
full batch; some only at the longest input or the first evaluation."""

MAX_SECONDS = 1e8
"""Three years. A forecast beyond it is reckoned as this long and must be refused: it says no more than "never".
With it, $1,000 per GPU-hour and 10,000 GPUs, every sum here stays within 64 bits."""

NO_ESCALATION = 2
"""How many times its own bill a second try is reckoned to cost where nothing roomier is to be had now: twice as many
GPUs of the same offer for as long."""

UNBOUNDED = np.iinfo(np.int64).max

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
    interruptions_per_hour: Floats | None = None
    """Of any machine of the candidate; None where all are sold on demand."""
    checkpoint_s: float = math.inf
    """Work that an interruption undoes at most."""
    paid_s: Micros | None = None
    """Seconds from now that are paid for whether they are used or not; None where none are."""
    egress_micros: Micros | None = None
    """For what leaves the provider when the job is done; None where nothing does."""

    def drawn_out(self, run_s: Floats) -> Floats:
        """The seconds that so much work is expected to take, interruptions included."""
        if self.interruptions_per_hour is None:
            return run_s
        restart = self.provision_s + self.startup_s
        return run_s * slowdown(run_s, restart, self.interruptions_per_hour, self.checkpoint_s)

    def run_within(self, probability: float | Floats) -> Floats:
        """The seconds that the work does not exceed with this probability, interruptions included."""
        run_s = self.p10_s, self.p50_s, self.p90_s
        if self.interruptions_per_hour is None:
            return quantile(*run_s, probability)
        restart = self.provision_s + self.startup_s
        return within(*run_s, restart, self.interruptions_per_hour, self.checkpoint_s, probability)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What each candidate would take, one cell each."""

    use_p50_s: Floats
    """From the order to the end of the work."""
    use_p90_s: Floats
    p50_micros: Micros
    p90_micros: Micros
    """Of all attempts together, as a budget is held to it."""
    try_p90_micros: Micros
    """Of one that does not run out of memory."""
    mean_micros: Micros
    """Over the distribution of the run time, if it does not run out of memory."""
    leaves_micros: Micros
    """Of each of these, for what leaves the provider: paid once, however many tries it takes."""
    wasted_micros: Micros
    """Lost if it does run out."""
    expected_micros: Micros
    """(1 − P(out of memory)) × mean + P(out of memory) × (wasted + the second try + what else a crash costs)."""


def reckon(runs: Runs) -> Costs:
    """Reckon every candidate's times and costs, as if a second try cost what the first does: see `escalate`. The p90 of
    all attempts has no bound yet where a crash is likelier than one in ten: see `over_all_attempts`."""
    before = runs.provision_s + runs.startup_s
    levels = {level: runs.drawn_out(quantile(runs.p10_s, runs.p50_s, runs.p90_s, level)) for level in LEVELS}
    # interruptions are few and long: one job in ten may meet far more of them than the mean
    p90_s = np.maximum(runs.run_within(0.9), levels[0.5])
    leaves = np.zeros_like(runs.micros_per_hour) if runs.egress_micros is None else runs.egress_micros
    bills = {level: _bill(before + run, runs) + leaves for level, run in levels.items()}
    mean = np.sum([bills[level] for level in LEVELS], axis=0) // len(LEVELS)
    wasted = _bill(before + OOM_SHARE * runs.p50_s, runs)
    fit = 1.0 - runs.oom_probability
    all_s = np.maximum(runs.run_within(given_fit(0.9, fit)), levels[0.5])
    return Costs(
        use_p50_s=before + levels[0.5],
        use_p90_s=before + p90_s,
        p50_micros=bills[0.5],
        p90_micros=np.where(fit >= 0.9, _bill(before + all_s, runs) + leaves, UNBOUNDED),
        try_p90_micros=_bill(before + p90_s, runs) + leaves,
        mean_micros=mean,
        leaves_micros=leaves,
        wasted_micros=wasted,
        expected_micros=_expected(mean, wasted, mean, runs.oom_probability),
    )


def escalate(
    costs: Costs,
    oom_probability: Floats,
    *,
    headroom: Floats,
    roomy_from: Floats,
    possible: Flags,
    crash_micros: int = 0,
) -> Costs:
    """The same costs, a second try reckoned where it would be made: at the cheapest of the `possible` candidates whose
    headroom (usable memory over the forecast median) is at least what a crash would show to be needed.

    `crash_micros` is what a crash costs its user beside machines: somebody's attention, an evening lost.
    """
    second = _second_try(costs.mean_micros, costs.leaves_micros, headroom, roomy_from, possible)
    expected = _expected(costs.mean_micros, costs.wasted_micros + crash_micros, second, oom_probability)
    return replace(costs, expected_micros=expected)


def over_all_attempts(costs: Costs, *, headroom: Floats, roomy_from: Floats, possible: Flags) -> Costs:
    """The same costs with a p90 of all attempts, which either of two bounds.

    Without a crash the first try stays below its own quantile at 0.9 / P(fits), so nine jobs in ten do. And nine in ten
    stay below both the first try's p90 and what a crash wastes with the p90 of the second try, `possible` or not now.
    """
    second = _second_try(costs.try_p90_micros, costs.leaves_micros, headroom, roomy_from, possible)
    either = np.maximum(costs.try_p90_micros, costs.wasted_micros + second)
    return replace(costs, p90_micros=np.minimum(costs.p90_micros, either))


def _second_try(bills: Micros, leaves: Micros, headroom: Floats, roomy_from: Floats, possible: Flags) -> Micros:
    """Of each candidate the bill of its second try, given everybody's bills of a first."""
    order = np.flatnonzero(possible)[np.argsort(headroom[possible], kind="stable")]
    # the cheapest from each headroom upwards; past the end there is none
    cheapest = np.append(np.minimum.accumulate(bills[order][::-1])[::-1], UNBOUNDED)
    roomier = cheapest[np.searchsorted(headroom[order], roomy_from)]
    return np.asarray(np.minimum(roomier, NO_ESCALATION * (bills - leaves) + leaves))


def _expected(mean: Micros, wasted: Micros, second: Micros, oom_probability: Floats) -> Micros:
    """The weighted sum in millionths, rounded down once; in two parts, or it would leave 64 bits for large bills."""
    chance = np.rint(oom_probability * _PPM).astype(np.int64)
    failed = wasted + second
    rest = mean % _PPM * (_PPM - chance) + failed % _PPM * chance
    return np.asarray(mean // _PPM * (_PPM - chance) + failed // _PPM * chance + rest // _PPM, dtype=np.int64)


def _bill(used_s: Floats, runs: Runs) -> Micros:
    """Micro-dollars for uses of a machine: `money.billed_seconds` and `money.cost_micros` for many at once."""
    used = np.minimum(used_s, MAX_SECONDS)
    if runs.paid_s is not None:
        used = np.maximum(used - runs.paid_s, 0.0)
    used = np.maximum(used, runs.minimum_s)
    billed = (-(-used // runs.billing_increment_s)).astype(np.int64) * runs.billing_increment_s
    return _per_hour(runs.micros_per_hour, billed)


def _per_hour(micros_per_hour: Micros, seconds: Micros) -> Micros:
    """price · seconds / 3600, rounded half-even, without leaving 64 bits: hours and the rest apart."""
    hours, rest = np.divmod(seconds, 3600)
    whole, over = np.divmod(micros_per_hour * rest, 3600)
    total = micros_per_hour * hours + whole
    up = (over > 1800) | ((over == 1800) & (total % 2 == 1))
    return np.asarray(total + up, dtype=np.int64)
