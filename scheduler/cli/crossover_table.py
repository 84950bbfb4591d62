"""When a deployment beats a price per token, as a person reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from scheduler.cli.economics_asking import price_lines
from scheduler.cli.plan_table import layout_label
from scheduler.cli.token_table import stream_head
from scheduler.cli.wording import ABSENT, columns, count, usd

Json = Mapping[str, Any]

HEADER = (
    "API", "$/M IN", "$/M OUT", "CACHED", "$/1,000 REQ", "CHEAPER FROM", "ALWAYS FROM", "IF FAST .. SLOW", "ON",
    "$/h", "BREAK-EVEN USE p10..p90",
)  # fmt: skip
RIGHT = (1, 2, 3, 4, 5, 6, 9)


def crossover_text(report: Json) -> str:
    """Every API, the cheapest request first, and what moves the first one's figure."""
    most = report["question"].get("max_utilisation", 0.8)
    lines = stream_head(report)
    if not report["crossings"]:
        return "\n".join([*lines, "", "Nowhere: no offer that is allowed holds the work within the limits."])
    lines += ["", *columns(HEADER, _rows(report["crossings"]), right=RIGHT)]
    lines.append(
        f"CHEAPER FROM: requests a day from which the deployment named costs less, until {100 * most:.0f} % of what it "
        "serves is used and a second copy is paid for; never: no traffic does it. ALWAYS FROM: no copy more changes "
        "that. IF FAST .. SLOW: of CHEAPER FROM. BREAK-EVEN USE: the share of its capacity at which it begins."
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
    lines += ["", f"As the prefix that all requests share grows, used to {100 * most:.0f} %:"]
    lines += columns(
        ("SHARED", "TOKENS", "API $/1,000 REQ", "OWN", "BREAK-EVEN USE p10..p90"),
        [
            (
                _share(one["share"]),
                count(one["cached_tokens"]),
                usd(1000 * Decimal(one["api_request_usd"])),
                usd(1000 * Decimal(one["own_request_usd"])),
                _use(one),
            )
            for one in report["shared_prefix"]
        ],
        right=(0, 1, 2, 3),
    )
    machines = sorted({one["lowest_utilisation"]["deployment"]["price_date"] for one in report["crossings"]})
    return "\n".join([*lines, f"GPU prices of {' and '.join(machines)}.", *price_lines(report)])


def _rows(crossings: Sequence[Json]) -> list[tuple[str, ...]]:
    """A provider's regions and aliases often cost the same, and one line says it; where they differ, it names which."""
    keys: dict[tuple[str, ...], str] = {}
    for one in crossings:
        keys.setdefault(_row(one), one["model_key"])
    prices = Counter(provider for provider, *_ in keys)
    return [
        (provider if prices[provider] == 1 else f"{provider}, {key.split('/')[-1]}", *rest)
        for (provider, *rest), key in keys.items()
    ]


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
        _traffic(found and found["requests_per_day"]),
        _traffic(crossing["always_requests_per_day"]),
        " .. ".join(_traffic(end and end["requests_per_day"]) for end in (fast, slow)),
        f"{name}{'' if label == ABSENT else f' {label}'}, {where}",
        usd(deployment["usd_per_hour"]),
        _use(shown),
    )


def _use(point: Json) -> str:
    return f"{_share(point['utilisation'])}  {_share(point['utilisation_low'])} .. {_share(point['utilisation_high'])}"


def _traffic(requests_per_day: float | None) -> str:
    return "never" if requests_per_day is None else f"{count(requests_per_day)}/day"


def _price(value: str | None) -> str:
    return ABSENT if value is None else f"{Decimal(value):.3f}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
