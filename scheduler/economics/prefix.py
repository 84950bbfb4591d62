"""What a prefix that requests share does to both prices: from none of the prompt to nearly all of it.

The API grants its cached price for it, where it has one; one's own prefix cache saves the reading.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from predictor.workload import InferenceWorkload
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.crossover import BreakEven, break_even
from scheduler.economics.tokens import TokenCost

SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
"""Of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixPoint:
    """One share of the prompt."""

    share: float
    cached_tokens: float
    api_request_usd: Decimal
    own: BreakEven
    own_request_usd: float
    """Used as much as is planned for."""


def shared_prefix(
    workload: InferenceWorkload,
    api: ApiPrice,
    serve: Callable[[InferenceWorkload], TokenCost | None],
    *,
    most: float,
) -> list[PrefixPoint]:
    """Ascending; `serve` prices other work on the same machines, run up to a share `most` of what they serve."""
    found = []
    for share in SHARES:
        cached = share * workload.input_length
        cost = serve(replace(workload, cached_prefix_length=cached))
        if cost is None:
            continue
        request = api.request_usd(workload.input_length, workload.output_length, cached)
        own_usd = cost.micros_per_hour / 1e6 / 3600 * cost.operating.request_s.p50 / most
        found.append(
            PrefixPoint(
                share=share, cached_tokens=cached, api_request_usd=request, own=break_even(cost, request),
                own_request_usd=own_usd,
            )
        )  # fmt: skip
    return found
