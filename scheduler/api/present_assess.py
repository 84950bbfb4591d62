"""From an assessment to the body that is sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from scheduler.api.present_economics import cents, deployment_fields, plain, price_list, six
from scheduler.api.present_fleet import api_fields
from scheduler.api.schemas.assess import (
    AssessOut,
    AssessWayOut,
    CreditsEndOut,
    FindingOut,
    FlipOut,
    ScheduleOut,
    SentenceOut,
)
from scheduler.economics.assess import WayCourse, cheaper_from
from scheduler.economics.assess_dates import CUTOVER_DAYS, DELIVERY_DAYS, SETUP_DAYS, SHADOW_DAYS, day_of
from scheduler.economics.finding import Finding, Sentence, name_of, sentences
from scheduler.services.assess import Assessment


def assess(report: Assessment) -> AssessOut:
    """Every model's answer, in the order of the questionnaire."""
    end = report.credits_end
    starts = [found.begins[1].shadow_start for found in report.findings if found.begins]
    return AssessOut(
        question=report.spec.model_dump(mode="json", exclude_unset=True),
        assumptions=_assumptions(report),
        model_version=report.model_version,
        as_of=report.as_of,
        credits_end=None
        if end is None
        else CreditsEndOut(day=end.day, used_up=end.used_up, left_usd=cents(end.left_usd)),
        switch=report.switch,
        shadow_start=min(starts, default=None),
        price_list=price_list(report.price_list),
        findings=[_finding(found, report) for found in report.findings],
    )


def _assumptions(report: Assessment) -> list[str]:
    delivery = ", ".join(f"{way} {days}" for way, days in DELIVERY_DAYS.items())
    said = dict.fromkeys(one for found in report.findings for one in found.workload.assumptions)
    return [
        *said,
        *report.spec.assumed(),
        f"days until it is there: {delivery}",
        f"days to set it up: {SETUP_DAYS}, of shadow traffic: {SHADOW_DAYS}, to move: {CUTOVER_DAYS}",
    ]


def _finding(found: Finding, report: Assessment) -> FindingOut:
    case = found.case
    return FindingOut(
        model=found.workload.architecture.id,
        requests_per_day=six(case.requests_per_day),
        request_usd=plain(case.request_usd),
        listed=None if found.listed is None else api_fields(found.listed),
        first_month=case.first_month,
        bills_before_usd=[cents(usd) for usd in case.bills_before.tolist()],
        best=None if found.chosen is None else found.chosen.way.value,
        holds=found.holds,
        ways=[_way(one, found, report) for one in found.courses],
        flips=[
            FlipOut(cause=one.cause.value, now=six(one.now), at=six(one.at), to=one.to.value) for one in found.flips
        ],
        schedule=_schedule(found),
        says=[_sentence(one) for one in sentences(found, report.switch)],
    )


def _way(course: WayCourse, found: Finding, report: Assessment) -> AssessWayOut:
    month = cheaper_from(found.case, course, found.stay)
    outcome = course.outcome
    return AssessWayOut(
        way=course.way.value,
        name=name_of(course, found),
        refused=course.refused,
        total_usd=cents(course.total_usd),
        low_usd=cents(course.low_usd),
        high_usd=cents(course.high_usd),
        monthly_usd=[cents(usd) for usd in course.monthly_usd],
        cheaper_from=_day(month, found, report),
        api=None if course.api is None else api_fields(course.api),
        deployment=None if course.cost is None else deployment_fields(course.cost),
        copies_first=course.copies[0],
        copies_last=course.copies[1],
        dedicated_replicas=None if outcome is None else outcome.dedicated,
        idle_timeout_s=None if outcome is None else outcome.idle_s,
    )


def _schedule(found: Finding) -> ScheduleOut | None:
    if found.begins is None:
        return None
    way, when = found.begins
    return ScheduleOut(
        way=way.value, order_by=when.order_by, shadow_start=when.shadow_start, cutover_start=when.cutover_start,
        switch=when.switch, late_days=when.late_days,
    )  # fmt: skip


def _sentence(said: Sentence) -> SentenceOut:
    return SentenceOut(text=said.text, figures=_figures(said.figures))


def _figures(figures: Mapping[str, float | str]) -> dict[str, float | str]:
    return {
        name: value
        if isinstance(value, str)
        else plain(Decimal(repr(value)))
        if name == "request_usd"
        else cents(value)
        if "usd" in name
        else six(value)
        for name, value in figures.items()
    }


def _day(month: int | None, found: Finding, report: Assessment) -> date | None:
    if month is None:
        return None
    return report.switch if month == found.case.first_month else day_of(report.as_of, month)
