"""What to do about a token bill, as a person reads it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from scheduler.cli.economics_asking import price_lines
from scheduler.cli.wording import ABSENT, columns, usd

Json = Mapping[str, Any]

WORDS = {
    "stay": "stay", "other_api": "another API", "dedicated": "rent, all day", "elastic": "rent, as needed",
    "reserved": "reserve", "buy": "buy",
}  # fmt: skip
HEADER = ("WAY", "$ IN ALL", "p10..p90", "$ FIRST MONTH", "LAST", "CHEAPER FROM", "ON", "OF", "RULED OUT")
RIGHT = (1, 3, 4)
WIDTH = 118


def assess_text(report: Json) -> str:
    """Every model's recommendation in sentences, and its ways below."""
    lines = [f"As of      {report['as_of']}, compared from {report['switch']} on"]
    if end := report["credits_end"]:
        lines.append(
            f"Credits    {'used up' if end['used_up'] else 'expire'} on {end['day']}"
            + ("" if end["used_up"] else f" with ${usd(end['left_usd'])} left")
        )
    if report["shadow_start"]:
        began = "have started" if report["shadow_start"] < report["as_of"] else "start"
        lines.append(f"Shadow     traffic should {began} on {report['shadow_start']}")
    lines += _wrapped("Assumed    ", "; ".join(report["assumptions"]))
    lines.append(f"Predictor  {report['model_version']}")
    lines += price_lines(report)
    for found in report["findings"]:
        lines += ["", *_finding(found)]
    return "\n".join(lines)


def _finding(found: Json) -> list[str]:
    paid = f"{found['model']}, {found['requests_per_day']:,.0f} requests a day"
    listed = found["listed"]
    price = f", list price of {listed['provider']} as of {listed['price_date']}" if listed else ""
    lines = [f"{paid}{price}"]
    for said in found["says"]:
        lines += _wrapped("- ", said["text"])
    lines += ["", *columns(HEADER, [_row(way) for way in found["ways"]], right=RIGHT)]
    dates = sorted({one["price_date"] for way in found["ways"] if (one := way["deployment"] or way["api"])})
    return [*lines, f"ON: the offer, and its price's day. Prices of {' and '.join(dates)}."] if dates else lines


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _row(way: Json) -> tuple[str, ...]:
    deployment, api = way["deployment"], way["api"]
    sold = deployment or api
    machine = "" if deployment is None else f"{deployment['gpu_count']} × {deployment['gpu_type']}, "
    return (
        WORDS[way["way"]],
        usd(way["total_usd"]),
        f"{usd(way['low_usd'])} .. {usd(way['high_usd'])}" if deployment else ABSENT,
        usd(way["monthly_usd"][0]),
        usd(way["monthly_usd"][-1]),
        way["cheaper_from"] or ABSENT,
        machine + " ".join(filter(None, (sold["provider"], sold.get("region")))) if sold else ABSENT,
        sold["price_date"] if sold else ABSENT,
        way["refused"] or "",
    )
