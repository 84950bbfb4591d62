"""What a million tokens cost on every offer: input, output and blended, each with its interval.

A request holds the machine for the reciprocal of the rate; the price of that time is shared between its input and its
output tokens as the time is between prefill and decode. Micro-dollars throughout, rounded half-even at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from predictor.errors import InvalidWorkload
from predictor.forecast import Spread
from predictor.hardware import GpuCatalogue, GpuType
from predictor.words import Precision
from predictor.workload import InferenceWorkload
from scheduler.domain.candidates import Cell, enumerate_candidates
from scheduler.domain.offers import Offer
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import Inventory, Lot
from scheduler.economics.serving import Forecaster, Limits, Operating, best_operating

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Micro-dollars per million tokens at the rate's p90, p50 and p10: a faster run is a cheaper token."""

    low: int
    mid: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCost:
    """The tokens of one offer, GPU count and layout at its best operating point."""

    offer: Offer
    gpu_count: int
    spot: bool
    micros_per_hour: int
    """Of all GPUs together."""
    operating: Operating
    input: Price
    """Cached prompt tokens count as the others do."""
    output: Price | None
    """None where nothing is generated."""
    blended: Price
    """Over input and output tokens together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCosts:
    """All offers and counts, the cheapest blended token first."""

    costs: tuple[TokenCost, ...]
    unfit: tuple[tuple[str, int], ...]
    """GPU types and counts that are sold and allowed, on no layout of which the work fits in time."""

    def best_of_each_type(self) -> tuple[TokenCost, ...]:
        """The cheapest of every GPU type, the same work on each."""
        first: dict[str, TokenCost] = {}
        for cost in self.costs:
            first.setdefault(cost.operating.question.gpu.name, cost)
        return tuple(first.values())


def token_costs(
    workload: InferenceWorkload,
    constraints: Constraints,
    limits: Limits,
    inventory: Inventory,
    gpus: GpuCatalogue,
    predictor: Forecaster,
    *,
    every_layout: bool = False,
) -> TokenCosts:
    """Price the tokens of a stream of such requests everywhere it may run, in the fastest layout or in `every_layout`.

    A card without native units for the precision asked serves in the next wider one that it has. Raises
    InvalidWorkload where there is no prompt to read.
    """
    if workload.input_length < 1:
        raise InvalidWorkload("input_length must be at least 1 token: a prompt is what a request begins with")
    costs: list[TokenCost] = []
    unfit: set[tuple[str, int]] = set()
    for precision, names in _by_precision(workload.precision, constraints, gpus).items():
        served = replace(workload, precision=precision)
        asked = constraints.model_copy(update={"gpu_types": names})
        priced, without = _on_cards(served, asked, limits, inventory, gpus, predictor, every_layout=every_layout)
        costs += priced
        unfit |= without
    costs.sort(key=lambda one: (one.blended.mid, one.gpu_count, one.offer.provider, one.offer.region, one.offer.id))
    return TokenCosts(costs=tuple(costs), unfit=tuple(sorted(unfit)))


def _by_precision(asked: Precision, constraints: Constraints, gpus: GpuCatalogue) -> dict[Precision, list[str]]:
    """The allowed GPU types by the precision that they serve the work in."""
    wanted = {gpu.name for name in constraints.gpu_types for gpu in gpus.variants(name)}
    found: dict[Precision, list[str]] = {}
    for gpu in gpus:
        if gpu.is_accelerator and (not wanted or gpu.name in wanted):
            found.setdefault(native_precision(gpu, asked), []).append(gpu.name)
    return found


def native_precision(gpu: GpuType, asked: Precision) -> Precision:
    """The precision asked where the card has units for it; otherwise the next wider one."""
    if asked is Precision.FP4 and not gpu.native_fp4:
        return native_precision(gpu, Precision.FP8)
    if asked is Precision.FP8 and not gpu.native_fp8:
        return Precision.BF16 if gpu.bf16_tflops is not None else Precision.FP16
    return asked


def _on_cards(
    workload: InferenceWorkload,
    constraints: Constraints,
    limits: Limits,
    inventory: Inventory,
    gpus: GpuCatalogue,
    predictor: Forecaster,
    *,
    every_layout: bool,
) -> tuple[list[TokenCost], set[tuple[str, int]]]:
    proposals = enumerate_candidates(constraints, workload, inventory, gpus)
    points = best_operating(proposals.questions, predictor, limits)
    fastest_first = [_layouts(cells, points) for cells in proposals.board.cells]
    costs: list[TokenCost] = []
    unfit: set[tuple[str, int]] = set()
    for place, group in zip(proposals.places.tolist(), proposals.groups.tolist(), strict=True):
        lot, found = inventory.stock.lot(place), fastest_first[group]
        if not found:
            unfit.add((lot.offer.gpu_type, lot.gpu_count))
        per_hour = lot.micros_per_gpu_hour * lot.gpu_count
        costs += [_cost(lot, per_hour, point, workload) for point in (found if every_layout else found[:1])]
    return costs, unfit


def _layouts(cells: Sequence[Cell], points: Sequence[Operating | None]) -> list[Operating]:
    """Those of a group that fit, the fastest first; a name that means several cards promises the slowest of them."""
    found: list[Operating] = []
    for cell in cells:
        variants = [point for place in cell.questions if (point := points[place]) is not None]
        if variants and len(variants) == len(cell.questions):
            found.append(max(variants, key=lambda point: point.request_s.p50))
    return sorted(found, key=lambda point: point.request_s.p50)


def _cost(lot: Lot, per_hour: int, point: Operating, workload: InferenceWorkload) -> TokenCost:
    phases, read, written = point.phases, workload.input_length, workload.output_length
    return TokenCost(
        offer=lot.offer,
        gpu_count=lot.gpu_count,
        spot=lot.spot,
        micros_per_hour=per_hour,
        operating=point,
        input=_price(per_hour, point.request_s, phases.prefill, read),
        output=_price(per_hour, point.request_s, phases.decode, written) if written > 0 else None,
        blended=_price(per_hour, point.request_s, 1.0, read + written),
    )


def _price(micros_per_hour: int, request_s: Spread, share: float, tokens: float) -> Price:
    low, mid, high = (
        _per_million(micros_per_hour, seconds * share, tokens)
        for seconds in (request_s.p10, request_s.p50, request_s.p90)
    )
    return Price(low=low, mid=mid, high=high)


def _per_million(micros_per_hour: int, seconds: float, tokens: float) -> int:
    """The exact price of forecast seconds, per million tokens; the forecast is a float, the price is not."""
    exact = Decimal(micros_per_hour) * Decimal(repr(seconds)) * MILLION / 3600 / Decimal(repr(tokens))
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
