"""Ways to serve a stream of requests, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler.cli.economics_asking import price_lines
from scheduler.cli.plan_table import layout_label
from scheduler.cli.token_table import stream_head
from scheduler.cli.wording import ABSENT, columns, count, duration, usd

Json = Mapping[str, Any]

NAMES = {"api": "API", "dedicated": "always on", "scale_to_zero": "scale to zero", "hybrid": "hybrid"}
HEADER = (
    "WAY", "$", "$/M TOKENS", "ON", "$/h", "REPLICAS", "IDLE", "QUEUE p50 p95 p99", "TTFT p50 p95 p99", "STARTS", "USE",
    "LIMIT",
)  # fmt: skip
RIGHT = (1, 2, 4, 9, 10)
ENDS = ("WAY", "AT", "$", "$/M TOKENS", "QUEUE p50 p95 p99", "TTFT p50 p95 p99", "STARTS", "USE", "LIMIT")
LEGEND = (
    "REPLICAS: kept all day + most at once beside them. USE: work done of what was paid for. An API's waits are not "
    "known."
)


def fleet_text(report: Json) -> str:
    """Every way, those that keep the limit first, and the cost by dedicated replicas."""
    traffic, limit = report["traffic"], report["question"].get("max_ttft_p95_s")
    lines = [
        *stream_head(report),
        f"Traffic    {_traffic(traffic)}",
        f"To keep    {_limit(limit)}",
    ]
    lines += ["", *columns(HEADER, [_row(one, report["api"]) for one in report["ways"]], right=RIGHT)]
    if not report["curve"]:
        return "\n".join([*lines, "", "Nowhere else: no offer that is allowed holds the work within the limits."])
    best = report["ways"][0]
    lines += [
        LEGEND,
        "",
        f"{NAMES[best['way']]} is cheapest"
        + ("." if best["keeps_limit"] else " of nothing: no way keeps the limit, and this one misses it least."),
        "",
        "The same where every replica is as fast as the forecast's p10 of the time, or as slow as its p90:",
        *columns(ENDS, [row for one in report["ways"] for row in _ends(one)], right=(2, 3, 6, 7)),
        "",
        "Cost of the hybrid by replicas kept all day:",
        *columns(
            ("KEPT", "IDLE", "$", "TTFT p95", "STARTS", "LIMIT"),
            [
                (
                    str(one["dedicated_replicas"]), duration(one["idle_timeout_s"]), usd(one["cost_usd"]),
                    duration(one["ttft_p95_s"]), f"{one['cold_starts']:,}", _kept(one),
                )
                for one in report["curve"]
            ],
            right=(0, 1, 2, 3, 4),
        ),
    ]  # fmt: skip
    dates = sorted({one["deployment"]["price_date"] for one in report["ways"] if one["deployment"]})
    return "\n".join([*lines, f"GPU prices of {' and '.join(dates)}.", *price_lines(report)])


def _traffic(traffic: Json) -> str:
    return (
        f"{traffic['name']}: {traffic['requests']:,} requests in {duration(traffic['horizon_s'])}, "
        f"{traffic['mean_rps']:.3g}/s, at most {traffic['peak_rps']:.3g}/s; {traffic['mean_input_tokens']:,.0f} in + "
        f"{traffic['mean_output_tokens']:,.0f} out tokens on average"
    )


def _limit(limit: float | None) -> str:
    if limit is None:
        return "all have a place by the end; --ttft-p95 sets a limit"
    return f"first token ≤ {limit:g} s at p95, with the wait"


def _row(way: Json, api: Json | None) -> tuple[str, ...]:
    deployment = way["deployment"]
    if deployment is None:
        where = ABSENT if api is None else api["provider"]
        return (NAMES[way["way"]], usd(way["cost_usd"]), usd(way["usd_per_mtok"]), where, *[ABSENT] * 8)
    label = layout_label(deployment["layout"])
    name = f"{deployment['gpu_type']} × {deployment['gpu_count']}{'' if label == ABSENT else f' {label}'}"
    beside = max(way["replicas"]) - way["dedicated_replicas"]
    return (
        NAMES[way["way"]],
        usd(way["cost_usd"]),
        usd(way["usd_per_mtok"]),
        f"{name}, " + " ".join(filter(None, (deployment["provider"], deployment["region"]))),
        usd(deployment["usd_per_hour"]),
        str(way["dedicated_replicas"]) + (f" + {count(-(-beside // 1))}" if way["idle_timeout_s"] is not None else ""),
        duration(way["idle_timeout_s"]),
        _percentiles(way["queue_s"]),
        _percentiles(way["ttft_s"]),
        f"{way['cold_starts']:,}",
        f"{100 * way['utilisation']:.0f} %",
        _kept(way),
    )


def _ends(way: Json) -> list[tuple[str, ...]]:
    return [
        (
            NAMES[way["way"]], name, usd(end["cost_usd"]), usd(end["usd_per_mtok"]), _percentiles(end["queue_s"]),
            _percentiles(end["ttft_s"]), f"{end['cold_starts']:,}", f"{100 * end['utilisation']:.0f} %", _kept(end),
        )
        for name, end in (("p10", way["fast"]), ("p90", way["slow"]))
        if end is not None
    ]  # fmt: skip


def _kept(one: Json) -> str:
    return "kept" if one["keeps_limit"] else "missed"


def _percentiles(found: Json) -> str:
    return "  ".join(duration(found[name]) for name in ("p50", "p95", "p99"))
