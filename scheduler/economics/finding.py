"""What an assessment found for one model, and the sentences that say so, each with its figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from predictor.workload import InferenceWorkload
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.assess import Case, WayCourse
from scheduler.economics.assess_dates import (
    CUTOVER_DAYS,
    DELIVERY_DAYS,
    MONTH_DAYS,
    SETUP_DAYS,
    SHADOW_DAYS,
    Schedule,
    Way,
)
from scheduler.economics.assess_spec import ModelUse
from scheduler.economics.crossover import DAY_S
from scheduler.economics.flips import Cause, Flip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One model's answer."""

    use: ModelUse
    case: Case
    workload: InferenceWorkload
    listed: ApiPrice | None
    """The list's price of who is paid now; None where only the bill says what a request costs."""
    courses: tuple[WayCourse, ...]
    chosen: WayCourse | None
    """None: nothing that is known satisfies the constraints."""
    holds: bool
    """Whether the choice is the same where every deployment is as slow as its p90, or as fast as its p10."""
    flips: tuple[Flip, ...]
    begins: tuple[Way, Schedule] | None
    """For the choice; where that is to stay, for the way that becomes cheaper. None where nothing is to begin."""

    @property
    def stay(self) -> WayCourse:
        """The API that is paid now, allowed or not."""
        return next(one for one in self.courses if one.way is Way.STAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Something that is said, and the figures behind it."""

    text: str
    figures: Mapping[str, float | str]


def sentences(found: Finding, switch: date) -> tuple[Sentence, ...]:
    """The recommendation in full, what rules a cheaper way out, when to begin, and what would flip it."""
    return tuple(_sentences(found, switch))


def name_of(course: WayCourse, found: Finding) -> str:
    """A way in words, as the end of "It is best to …"."""
    match course.way:
        case Way.STAY:
            return f"stay at {_payee(found)}"
        case Way.OTHER_API:
            assert course.api is not None  # noqa: S101 - it is what makes it another API
            return f"move to the API of {course.api.provider}"
    cost = course.cost
    assert cost is not None  # noqa: S101 - every other way is a deployment
    where = " ".join(filter(None, (cost.offer.provider, cost.offer.region)))
    gpu = cost.operating.question.gpu.name
    unit = f"{cost.gpu_count} × {gpu}"
    first, last = course.copies
    many = (
        f"{f'{first:,}' if first == last else f'{first:,} to {last:,}'} × {f'({unit})' if cost.gpu_count > 1 else gpu}"
    )
    match course.way:
        case Way.DEDICATED:
            return f"keep {many} of {where} all day, rented on demand"
        case Way.RESERVED:
            return f"reserve {many}"
        case Way.BUY:
            return f"buy {many}"
    assert course.outcome is not None  # noqa: S101 - it was simulated
    kept = course.outcome.dedicated
    return f"rent {unit} of {where} as it is needed, {f'{kept} of them' if kept else 'none'} kept all day"


def _payee(found: Finding) -> str:
    listed = found.listed.provider if found.listed else "the API that is paid now"
    return found.use.provider or listed


def _sentences(found: Finding, switch: date) -> Iterator[Sentence]:
    chosen, stay, months = found.chosen, found.stay, found.case.months
    if chosen is None:
        why = "; ".join(f"{one.way}: {one.refused}" for one in found.courses)
        yield Sentence(
            text=f"Nothing that is known satisfies the constraints ({why}), and no offer that is allowed holds the "
            "work within the limits.",
            figures={},
        )
        return
    yield _best(found, chosen, stay)
    yield _month(found, chosen, stay, switch)
    if chosen.cost is not None or any(one.cost is not None for one in found.courses):
        yield _interval(found, chosen)
    for one in found.courses:
        if one.refused is not None:
            yield Sentence(
                text=f"To {name_of(one, found)} is ruled out: {one.refused}; it would cost "
                f"{dollars(one.total_usd)} over {_months(months)}.",
                figures={"total_usd": one.total_usd, "months": months},
            )
    if found.begins is not None:
        yield _begin(found, *found.begins)
    for flip in found.flips:
        yield _flip(found, flip)
    if not found.flips:
        yield Sentence(text="Nothing within the bounds that were searched would flip it.", figures={})


def _best(found: Finding, chosen: WayCourse, stay: WayCourse) -> Sentence:
    months, saves = found.case.months, stay.total_usd - chosen.total_usd
    figures: dict[str, float | str] = {"total_usd": chosen.total_usd, "months": months}
    if chosen.way is not Way.STAY:
        figures |= {"stay_usd": stay.total_usd, "saves_usd": saves}
        less = f"{dollars(saves)} ({saves / stay.total_usd:.0%}) less" if saves >= 0 else f"{dollars(-saves)} more"
        rest = f"{less} than {dollars(stay.total_usd)} at {_payee(found)}"
    elif following := next((one for one in found.courses if one is not chosen and one.refused is None), None):
        figures |= {"next_usd": following.total_usd}
        rest = f"the next best, to {name_of(following, found)}, would cost {dollars(following.total_usd)}"
    else:
        rest = "no other way is allowed and fits"
    return Sentence(
        text=f"It is best to {name_of(chosen, found)}: {dollars(chosen.total_usd)} over {_months(months)}, {rest}.",
        figures=figures,
    )


def _month(found: Finding, chosen: WayCourse, stay: WayCourse, switch: date) -> Sentence:
    case = found.case
    traffic = float(case.per_day[0])
    figures: dict[str, float | str] = {
        "requests_per_day": traffic, "month_usd": chosen.monthly_usd[0], "stay_month_usd": stay.monthly_usd[0],
        "request_usd": float(case.request_usd), "switch": switch.isoformat(),
    }  # fmt: skip
    text = (
        f"In the first month from {switch} on, at {f'{traffic:,.0f}' if traffic >= 100 else _plain(traffic)} requests "
        "a day, it costs "
        f"{dollars(chosen.monthly_usd[0])}"
    )
    if chosen.way is not Way.STAY:
        text += f"; staying {dollars(stay.monthly_usd[0])}, {_price(1000 * float(case.request_usd))} for 1,000 requests"
    if chosen.way is Way.DEDICATED and chosen.cost is not None:
        use = traffic / DAY_S * chosen.cost.operating.request_s.p50 / chosen.copies[0]
        figures["utilisation"] = use
        text += f". The day's mean takes {use:.0%} of what these machines serve"
    return Sentence(text=text + ".", figures=figures)


def _interval(found: Finding, chosen: WayCourse) -> Sentence:
    figures: dict[str, float | str] = {"low_usd": chosen.low_usd, "high_usd": chosen.high_usd}
    spread = (
        f"Between the fast and the slow end of the forecast it costs {dollars(chosen.low_usd)} to "
        f"{dollars(chosen.high_usd)}"
        if chosen.cost is not None
        else "It costs the same at both ends of the forecast"
    )
    return Sentence(
        text=f"{spread}, and it is "
        + ("the best at both ends." if found.holds else "not the best at both ends: measure before you decide."),
        figures=figures,
    )


def _begin(found: Finding, way: Way, when: Schedule) -> Sentence:
    figures: dict[str, float | str] = {
        "order_by": when.order_by.isoformat(), "shadow_start": when.shadow_start.isoformat(),
        "cutover_start": when.cutover_start.isoformat(), "switch": when.switch.isoformat(),
        "delivery_days": DELIVERY_DAYS[way], "setup_days": SETUP_DAYS, "shadow_days": SHADOW_DAYS,
        "cutover_days": CUTOVER_DAYS, "late_days": when.late_days,
    }  # fmt: skip
    course = next(one for one in found.courses if one.way is way)
    said = (
        f"To {name_of(course, found)} becomes cheaper from {when.switch} on: shadow"
        if found.chosen is not None and found.chosen.way is Way.STAY
        else "Shadow"
    )
    steps = (
        f"{DELIVERY_DAYS[way]} days until it is there, {SETUP_DAYS} to set it up, {SHADOW_DAYS} of shadow traffic, "
        f"{CUTOVER_DAYS} to move"
    )
    if not when.late_days:
        return Sentence(
            text=f"{said} traffic should start on {when.shadow_start}, and the order be placed by {when.order_by}: "
            f"{steps} before {when.switch}.",
            figures=figures,
        )
    late = timedelta(days=when.late_days)
    per_day = (found.stay.monthly_usd[0] - course.monthly_usd[0]) / MONTH_DAYS
    figures |= {
        "late_usd_per_day": per_day, "earliest_shadow_start": (when.shadow_start + late).isoformat(),
        "earliest_switch": (when.switch + late).isoformat(),
    }  # fmt: skip
    costs = f"; each of the {when.late_days} days between costs {dollars(per_day)}" if per_day > 0 else ""
    return Sentence(
        text=f"{said} traffic should have started on {when.shadow_start}, and the order been placed by "
        f"{when.order_by}: {steps} before {when.switch}. Ordered at once, it starts on {when.shadow_start + late} and "
        f"traffic has moved by {when.switch + late}{costs}.",
        figures=figures,
    )


def dollars(usd: float) -> str:
    """Whole ones, but for what is less than ten."""
    return f"${usd:,.0f}" if abs(usd) >= 10 else f"${usd:,.2f}"


def _price(usd: float) -> str:
    """Of something small: cents at least, and three digits of what is less."""
    size = math.floor(math.log10(usd)) if usd > 0 else 3
    return f"${usd:,.{0 if size >= 3 else max(2, 2 - size)}f}"


def _months(count: int) -> str:
    return "1 month" if count == 1 else f"{count} months"


def _plain(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    return f"{Decimal(f'{value:.3g}'):,f}"


def _percent(share: float) -> str:
    return f"{_plain(100 * share)}%"


_SAID: Mapping[Cause, tuple[str, Callable[[float], str]]] = {
    Cause.TRAFFIC: ("{} requests a day", _plain),
    Cause.GROWTH: ("growth of {} a year", lambda value: f"{'+' if value >= 0 else ''}{_percent(value)}"),
    Cause.API_PRICE: ("{} for 1,000 requests at the API", _price),
    Cause.GPU_PRICE: ("{} of today's GPU prices", _percent),
    Cause.UTILISATION: ("{} of a deployment used in its busiest minute", _percent),
    Cause.OPERATIONS: ("{} a month to run it", _price),
}


def _flip(found: Finding, flip: Flip) -> Sentence:
    course = next((one for one in found.courses if one.way is flip.to), None)
    words, shown = _SAID[flip.cause]
    name = _generally(flip.to, found) if course is None or course.cost is not None else name_of(course, found)
    side = "Above" if flip.at > flip.now else "Below"
    return Sentence(
        text=f"{side} {words.format(shown(flip.at))} (now {shown(flip.now)}) it is better to {name}.",
        figures={"cause": flip.cause.value, "now": flip.now, "at": flip.at, "to": flip.to.value},
    )


def _generally(way: Way, found: Finding) -> str:
    """Without its machines, which are others elsewhere."""
    return {
        Way.STAY: f"stay at {_payee(found)}", Way.OTHER_API: "move to another API",
        Way.DEDICATED: "keep machines all day, rented on demand", Way.ELASTIC: "rent machines as they are needed",
        Way.RESERVED: "reserve machines", Way.BUY: "buy machines",
    }[way]  # fmt: skip
