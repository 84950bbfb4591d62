"""When a deployment beats a price per token, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scheduler.cli.plan_table import layout_label
from scheduler.cli.token_table import stream_head
from scheduler.cli.wording import ABSENT, columns, count, usd

Json = Mapping[str, Any]

HEADER = (
    "API", "$/M IN", "$/M OUT", "CACHED", "$/1,000 REQ", "CHEAPER FROM", "IF FAST .. SLOW", "ON", "$/h",
    "BREAK-EVEN USE p10..p90",
)  # fmt: skip
RIGHT = (1, 2, 3, 4, 5, 8)


def crossover_text(report: Json) -> str:
    """Every API, the cheapest request first, and what moves the first one's figure."""
    most = report["question"].get("max_utilisation", 0.8)
    lines = stream_head(report)
    if not report["crossings"]:
        return "\n".join([*lines, "", "Nowhere: no offer that is allowed holds the work within the limits."])
    # a provider's regions and aliases often cost the same: one line says it
    rows = list(dict.fromkeys(_row(one) for one in report["crossings"]))
    lines += ["", *columns(HEADER, rows, right=RIGHT)]
    lines.append(
        f"CHEAPER FROM: requests a day above which the deployment named costs less, planned up to {100 * most:.0f} % "
        "of what it serves; never: no traffic does it. BREAK-EVEN USE: the share of its capacity that this is."
    )
    lines += ["", f"What moves the break-even use against {report['crossings'][0]['provider']} most:"]
    lines += columns(
        ("CAUSE", "LOW", "AT", "HIGH", "AT"),
        [
            (one["cause"], _share(one["low"]), one["low_is"], _share(one["high"]), one["high_is"])
            for one in report["moves"]
        ],
        right=(1, 3),
    )
    lines.append(f"API prices of {report['crossings'][0]['price_date']}.")
    return "\n".join(lines)


def _row(crossing: Json) -> tuple[str, ...]:
    found = crossing["crossing"]
    shown = found or crossing["lowest_utilisation"]
    deployment = shown["deployment"]
    name = f"{deployment['gpu_type']} × {deployment['gpu_count']}"
    label = layout_label(deployment["layout"])
    where = " ".join(filter(None, (deployment["provider"], deployment["region"])))
    fast, slow = crossing["crossing_if_fast"], crossing["crossing_if_slow"]
    return (
        crossing["provider"],
        _price(crossing["input_usd_per_mtok"]),
        _price(crossing["output_usd_per_mtok"]),
        _price(crossing["cached_input_usd_per_mtok"]),
        usd(1000 * Decimal(crossing["request_usd"])),
        _traffic(found),
        f"{_traffic(fast)} .. {_traffic(slow)}",
        f"{name}{'' if label == ABSENT else f' {label}'}, {where}",
        usd(deployment["usd_per_hour"]),
        f"{_share(shown['utilisation'])}  {_share(shown['utilisation_low'])} .. {_share(shown['utilisation_high'])}",
    )


def _traffic(point: Json | None) -> str:
    return "never" if point is None else f"{count(point['requests_per_day'])}/day"


def _price(value: str | None) -> str:
    return ABSENT if value is None else f"{Decimal(value):.3f}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
