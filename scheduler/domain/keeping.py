"""How long an idle machine is worth keeping: as long as a job is likelier to save a cold start than idling costs.

This is the ski-rental problem: each idle second costs c, and a job that comes while the machine is still there saves
the cold start K. The gap until the next job of the pool is forecast from the jobs that came in a window of the past:
with Poisson arrivals of an unknown rate and the conjugate Gamma distribution over it, n arrivals in W seconds make the
gap Lomax-distributed, P(gap > t) = (W / (W + t))ⁿ. Its hazard n / (W + t) falls while nothing comes, so it is best to
stop at the first moment at which one more step is not worth its price (the monotone case of optimal stopping: Y. S.
Chow, H. Robbins, D. Siegmund, Great Expectations, 1971, chapter 3).

Arrivals that stop all at once are no Poisson process. So no machine idles for longer than a cold start is worth: who
rents up to the price of buying and no longer pays at most twice of what hindsight would have paid (A. R. Karlin,
M. S. Manasse, L. Rudolph, D. D. Sleator, "Competitive snoopy caching", Algorithmica 3, 1988).

Time that is paid for already costs nothing and is always waited out, up to the next second that is billed.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.machines import Tariff

WINDOW_STARTS = 10.0
"""Cold starts that fit in the window in which arrivals are counted: a pool in which the next one is not expected within
one cold start is not worth keeping, so a longer memory would only be slower to notice that jobs stopped coming."""

WINDOW_S = (60.0, 3600.0)
"""The window is no shorter and no longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Jobs that a pool has seen in a window of the past."""

    count: int
    window_s: float

    def chance_within(self, step_s: float, idle_s: float) -> float:
        """P(one comes within the next `step_s` | none has come for `idle_s`)."""
        rest = (self.window_s + idle_s) / (self.window_s + idle_s + step_s)
        return 1.0 - float(rest**self.count)


def window_s(provision_s: float) -> float:
    """How far back arrivals are counted, in seconds."""
    shortest, longest = WINDOW_S
    return min(longest, max(shortest, WINDOW_STARTS * provision_s))


def keep_s(arrivals: Arrivals, *, tariff: Tariff, provision_s: float, metered_s: float) -> float:
    """Seconds for which a machine that fell idle at `metered_s` is kept; 0: let it go now.

    A machine that costs nothing, or is there at once, saves nothing by idling.
    """
    cold_start_micros = tariff.charge(0.0, provision_s).cost_micros if provision_s > 0 else 0
    if cold_start_micros <= 0:
        return 0.0
    idle_s = paid = max(0.0, tariff.charged(metered_s).billed_s - metered_s)
    step_s = float(tariff.billing_increment_s)
    while (
        idle_s - paid < provision_s
        and arrivals.chance_within(step_s, idle_s) * cold_start_micros
        > tariff.charge(metered_s + idle_s, metered_s + idle_s + step_s).cost_micros
    ):
        idle_s += step_s
    return idle_s
