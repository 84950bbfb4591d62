"""A picture of a training run's cost against its time, readable in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from scheduler.economics.plots import pyplot, save_picture

MOST_NAMED = 16
"""Points of a front that have room in the key."""
NEAR = 14
"""Points of the picture, in its own unit, that are too near for a number each."""


def plot_training_run(report: Mapping[str, Any], path: Path) -> None:
    """Dollars against hours of every offer and count, and those that nothing beats in both."""
    plt = pyplot()
    runs, front = report["runs"], report["pareto"]
    figure, axes = plt.subplots(figsize=(11, 6), layout="constrained")
    hours, usd = _ends(runs, "p50")
    axes.scatter(hours, usd, s=12, facecolors="none", edgecolors="0.7", label="every other offer and count")
    hours, usd = _ends(front, "p50")
    errors = [
        [[abs(one - mid) for one, mid in zip(_ends(front, end)[axis], (hours, usd)[axis], strict=True)]
         for end in ("p10", "p90")]
        for axis in (0, 1)
    ]  # fmt: skip
    axes.errorbar(
        hours, usd, xerr=errors[0], yerr=errors[1], fmt="o", color="0.1", ecolor="0.6", capsize=2, zorder=3,
        label="nothing is both cheaper and sooner (lines: p10 to p90 of the forecast)",
    )  # fmt: skip
    axes.step(hours, usd, where="pre", color="0.1", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(x=0.12, y=0.12)
    ticks: Any = import_module("matplotlib.ticker")
    for axis, words in ((axes.xaxis, "{x:,g}"), (axes.yaxis, "${x:,g}")):
        axis.set_major_locator(ticks.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(words)
        axis.set_minor_locator(ticks.NullLocator())
    axes.set_xlabel("hours from the order of the machines to the end (logarithmic)")
    axes.set_ylabel("US dollars of the whole run (logarithmic)")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.1))
    named = _spread(len(front))
    _number(axes, [hours[place] for place in named], [usd[place] for place in named])
    axes.text(1.02, 1.0, "\n".join(_key(front, named)), transform=axes.transAxes, va="top", fontsize=8, linespacing=1.5)
    asked = report["question"]
    model = asked["model"] if isinstance(asked["model"], str) else "the architecture given"
    axes.set_title(f"What a training run costs, and how long it takes: {model}", fontsize=10)
    save_picture(plt, figure, path)


def _number(axes: Any, hours: Sequence[float], usd: Sequence[float]) -> None:
    """Below and to the left of each point, where by its definition there is none; one label for neighbours."""
    places = axes.transData.transform(list(zip(hours, usd, strict=True)))
    groups: list[list[int]] = []
    for place, (x, y) in enumerate(places):
        last = places[groups[-1][0]] if groups else None
        if last is not None and abs(x - last[0]) < NEAR and abs(y - last[1]) < NEAR:
            groups[-1].append(place)
        else:
            groups.append([place])
    for group in groups:
        axes.annotate(
            ", ".join(str(place + 1) for place in group), (hours[group[0]], usd[group[0]]), xytext=(-4, -4),
            textcoords="offset points", fontsize=9, fontweight="bold", ha="right", va="top",
        )  # fmt: skip


def _key(front: Sequence[Mapping[str, Any]], named: Sequence[int]) -> list[str]:
    lines = []
    for number, place in enumerate(named, start=1):
        one = front[place]
        spot = " spot" if one["spot"] else ""
        lines.append(
            f"{number}  {one['gpu_type']} × {one['gpu_count']}{spot}, {one['provider']}: "
            f"${float(one['p50']['usd']):,.0f}, {one['p50']['hours']:,.3g} h"
        )
    left = len(front) - len(named)
    return lines if left == 0 else [*lines, f"and {left} between them"]


def _ends(runs: Sequence[Mapping[str, Any]], quantile: str) -> tuple[list[float], list[float]]:
    """Hours and dollars."""
    return [one[quantile]["hours"] for one in runs], [float(one[quantile]["usd"]) for one in runs]


def _spread(many: int) -> list[int]:
    """At most `MOST_NAMED` places of so many, the first and the last among them."""
    named = min(many, MOST_NAMED)
    return sorted({round(one * (many - 1) / max(named - 1, 1)) for one in range(named)})
