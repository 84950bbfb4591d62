"""Whether to own, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler.cli.economics_asking import price_lines
from scheduler.cli.wording import ABSENT, columns, usd

Json = Mapping[str, Any]

WORDS = {
    "buy": "buy", "reserved": "rent reserved", "on_demand": "rent on demand", "serverless": "serverless",
    "api": "API, per token",
}  # fmt: skip

HEADER = (
    "WAY", "$ LIKELY", "p10..p90", "CHEAPEST", "NPV $", "CAPITAL", "POWER", "HOSTING", "STAFF", "RENT", "OVERFLOW",
    "RESALE", "BUYING PAID BACK", "p10..p90",
)  # fmt: skip
RIGHT = (1, 3, 4, 5, 6, 7, 8, 9, 10, 11)
PARTS = ("capital", "power", "hosting", "staff", "rent", "overflow", "resale")


def roi_text(report: Json) -> str:
    """Every way, the cheapest first."""
    asked = report["question"]
    lines = [
        f"Fleet      {asked['gpus']} × {asked['gpu_type']} over {asked.get('months', 36)} months",
        f"Assumed    {'; '.join(report['assumptions']) or 'nothing'}",
        "",
        *columns(HEADER, [_row(one) for one in report["ways"]], right=RIGHT),
        "All discounted to today. NPV: against renting on demand. CHEAPEST: share of the draws over what is uncertain.",
        "OVERFLOW: demand above what the fleet can serve, rented on demand. PAID BACK: resale left out, with the share",
        "of draws in which it is within the horizon.",
    ]
    return "\n".join([*lines, *(price_lines(report) if report["price_list"] else [])])


def _row(one: Json) -> tuple[str, ...]:
    parts, paid = one["parts"], one["payback"]
    return (
        WORDS[one["way"]],
        usd(one["usd"]),
        f"{usd(one['drawn']['p10'])} .. {usd(one['drawn']['p90'])}",
        f"{100 * one['cheapest_probability']:.0f} %",
        usd(one["saves_usd"]),
        *(usd(parts.get(name)) for name in PARTS),
        *_payback(paid),
    )


def _payback(paid: Json | None) -> tuple[str, str]:
    if paid is None:
        return ABSENT, ABSENT
    likely = "never" if paid["months"] is None else f"month {paid['months']}"
    spread = "" if paid["p10_months"] is None else f"{paid['p10_months']:.0f} .. {paid['p90_months']:.0f}"
    return f"{likely} ({100 * paid['probability']:.0f} %)", spread or ABSENT
