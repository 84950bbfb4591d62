"""A picture of a fleet for a slide: replicas over the day, and what keeping some of them all day costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scheduler.economics.plots import picture_title, pyplot, save_picture

LINES = {
    "scale_to_zero": ("scale to zero", "0.7", "-", 3.2),
    "dedicated": ("always on", "0.35", ":", 1.6),
    "hybrid": ("hybrid", "0.1", "-", 1.2),
}
"""Name, grey, style and width, in the order in which they are drawn: where they agree, the wider shows below."""

SHORTEST_S = 0.01
"""What is shorter is drawn as this: nothing has no place on a logarithmic axis."""


def plot_fleet(report: Mapping[str, Any], path: Path) -> None:
    """Replicas over the day, dollars against those kept, and waiting; with p10 to p90 of the forecast, in grey."""
    plt = pyplot()
    figure, (day, cost, wait) = plt.subplots(
        3, 1, figsize=(9, 10.5), layout="constrained", gridspec_kw={"height_ratios": (4, 4, 2)}
    )
    _replicas(day, report)
    _cost(cost, report)
    _waits(wait, report)
    day.set_title(picture_title(report, "Ways to serve a stream:"), fontsize=10)
    save_picture(plt, figure, path)


def _replicas(axes: Any, report: Mapping[str, Any]) -> None:
    horizon_s = report["traffic"]["horizon_s"]
    unit, seconds = ("hours", 3600.0) if horizon_s > 2 * 3600 else ("minutes", 60.0)
    ways = {way["way"]: way for way in report["ways"]}
    for way, (label, grey, style, width) in LINES.items():
        counts = ways[way]["replicas"]
        edges = [horizon_s / seconds * place / len(counts) for place in range(len(counts) + 1)]
        axes.stairs(counts, edges, baseline=None, color=grey, linestyle=style, label=label, linewidth=width)
        if way == "hybrid" and (end := ways[way]["slow"]):
            axes.stairs(
                end["replicas"], edges, baseline=ways[way]["fast"]["replicas"], fill=True, color="0.9", zorder=0,
                label="hybrid, p10 to p90 of the forecast",
            )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, horizon_s / seconds)
    if unit == "hours":
        axes.set_xticks(range(0, int(horizon_s / seconds) + 1, max(1, int(horizon_s / seconds) // 12)))
    axes.set_xlabel(f"{unit} since the beginning of the {'day' if unit == 'hours' else 'trace'}")
    axes.set_ylabel("replicas paid for (mean of each step)")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)


def _cost(axes: Any, report: Mapping[str, Any]) -> None:
    curve = report["curve"]
    axes.plot(
        [one["dedicated_replicas"] for one in curve], [float(one["cost_usd"]) for one in curve], color="0.1",
        label="hybrid: kept all day, the rest as needed",
    )  # fmt: skip
    for kept, marker, fill, label in ((True, "o", "0.1", "keeps the limit"), (False, "X", "white", "misses it")):
        points = [one for one in curve if one["keeps_limit"] is kept]
        if points:
            axes.plot(
                [one["dedicated_replicas"] for one in points], [float(one["cost_usd"]) for one in points], marker,
                color="0.1", markerfacecolor=fill, label=label,
            )  # fmt: skip
    for way in report["ways"]:
        if way["way"] in ("hybrid", "scale_to_zero") and way["slow"]:
            axes.errorbar(
                [way["dedicated_replicas"]], [float(way["cost_usd"])],
                yerr=_apart([way], lambda one: float(one["cost_usd"])), fmt="s" if way["way"] == "hybrid" else "D",
                color="0.1", markerfacecolor="none", markersize=10, ecolor="0.45", capsize=4,
                label=f"best {LINES[way['way']][0]}, p10 to p90 of the forecast",
            )  # fmt: skip
    for way in report["ways"]:
        if way["way"] in ("api", "dedicated"):
            api = report["api"]
            name = f"{api['provider']}, per token, price of {api['price_date']}" if way["way"] == "api" else "always on"
            axes.axhline(
                float(way["cost_usd"]), color="0.5", linestyle="--" if way["way"] == "api" else ":", label=name
            )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("${x:,g}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("replicas kept all day")
    axes.set_ylabel("US dollars for all requests")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)


def _apart(ways: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]) -> tuple[list[float], ...]:
    """How far below and above its median each way is at the ends of the forecast."""
    below = [max(0.0, value(way) - min(value(way["fast"]), value(way["slow"]))) for way in ways]
    above = [max(0.0, max(value(way["fast"]), value(way["slow"])) - value(way)) for way in ways]
    return below, above


def _waits(axes: Any, report: Mapping[str, Any]) -> None:
    """On a logarithmic axis: at the slow end of the forecast a queue may grow for hours."""
    ways = [way for way in report["ways"] if way["ttft_s"]]
    for offset, key, marker, fill, label in (
        (-0.12, "ttft_s", "o", "0.1", "time to first token, p95"),
        (0.12, "queue_s", "s", "white", "wait for a place, p95"),
    ):

        def p95(one: Mapping[str, Any], key: str = key) -> float:
            return max(SHORTEST_S, float(one[key]["p95"]))

        for place, way in enumerate(ways):
            axes.errorbar(
                [p95(way)], [place + offset], xerr=_apart([way], p95) if way["slow"] else None, fmt=marker,
                color="0.1", markerfacecolor=fill, ecolor="0.45", capsize=3, clip_on=False,
                label=label if place == 0 else None,
            )  # fmt: skip
    limit = report["question"].get("max_ttft_p95_s")
    if limit is not None:
        axes.axvline(limit, color="0.5", linestyle="--", label=f"limit: {limit:g} s")
    axes.set_yticks(range(len(ways)), [LINES[way["way"]][0] for way in ways], fontsize=8)
    axes.set_ylim(len(ways) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(left=0.8 * SHORTEST_S)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"seconds (logarithmic; {SHORTEST_S:g}: that or less; lines: p10 to p90 of the forecast)")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3)
