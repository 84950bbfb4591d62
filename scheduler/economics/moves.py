"""What moves a break-even utilisation most: each cause by itself, from a low to a high value, the rest as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from predictor.workload import InferenceWorkload
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.crossover import break_even
from scheduler.economics.tokens import TokenCost

PRICES = (Decimal("0.8"), Decimal("1.2"))
"""Prices of GPUs and of APIs moved by a fifth and more within a quarter of 2026."""
LENGTHS = (0.5, 2.0)
PREFIXES = (0.0, 0.8)
"""Shares of the prompt that all requests have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One cause, and the break-even utilisation at its two ends."""

    cause: str
    low_is: str
    """The value that gives `low`."""
    low: float
    high_is: str
    high: float

    @property
    def swing(self) -> float:
        """How far it moves the figure."""
        return abs(self.high - self.low)


def moves(
    cost: TokenCost,
    workload: InferenceWorkload,
    api: ApiPrice,
    serve: Callable[[InferenceWorkload], TokenCost | None],
) -> list[Move]:
    """Every cause, the one that moves most first; `serve` prices other work on the same offer and count."""
    request = _request(api, workload)
    point = break_even(cost, request)
    less, more = PRICES
    found = [
        Move(
            cause="speed of the forecast", low_is="p90", low=point.utilisation_low, high_is="p10",
            high=point.utilisation_high,
        ),
        Move(
            cause="price of the GPUs", low_is="−20 %", low=point.utilisation * float(less), high_is="+20 %",
            high=point.utilisation * float(more),
        ),
        Move(
            cause="price of the API", low_is="+20 %", low=point.utilisation / float(more), high_is="−20 %",
            high=point.utilisation / float(less),
        ),
    ]  # fmt: skip
    for cause, ends in _other_work(workload):
        values = [(name, _served(changed, api, serve)) for name, changed in ends]
        known = [(name, value) for name, value in values if value is not None]
        if len(known) == 2:  # where the longer work no longer fits, there is no figure to compare
            (low_is, low), (high_is, high) = sorted(known, key=lambda one: one[1])
            found.append(Move(cause=cause, low_is=low_is, low=low, high_is=high_is, high=high))
    return sorted(found, key=lambda move: -move.swing)


def _other_work(workload: InferenceWorkload) -> Iterator[tuple[str, list[tuple[str, InferenceWorkload]]]]:
    length = workload.output_length
    if length > 0:
        yield (
            "length of the answers",
            [(f"{length * factor:g} tokens", replace(workload, output_length=length * factor)) for factor in LENGTHS],
        )
    yield (
        "prefix that requests share",
        [
            (
                f"{100 * share:.0f} % of the prompt",
                replace(workload, cached_prefix_length=share * workload.input_length),
            )
            for share in PREFIXES
        ],
    )


def _served(
    workload: InferenceWorkload, api: ApiPrice, serve: Callable[[InferenceWorkload], TokenCost | None]
) -> float | None:
    cost = serve(workload)
    return None if cost is None else break_even(cost, _request(api, workload)).utilisation


def _request(api: ApiPrice, workload: InferenceWorkload) -> Decimal:
    return api.request_usd(workload.input_length, workload.output_length, workload.cached_prefix_length)
