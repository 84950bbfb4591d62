"""A picture of what was paid for and not used, readable in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scheduler.economics.plots import MOST_BARS, pyplot, save_picture


def plot_waste(report: Mapping[str, Any], words: Mapping[str, str], path: Path) -> None:
    """Dollars that were of no use by cause, and by GPU type beside what was paid for it."""
    plt = pyplot()
    causes, types = report["causes"], report["gpu_types"][:MOST_BARS]
    if not types:
        figure, axes = plt.subplots(figsize=(9, 2), layout="constrained")
        axes.set_axis_off()
        axes.text(0.5, 0.5, "Nothing was paid for in this time.", ha="center", va="center")
        figure.suptitle(_whose(report), fontsize=10)
        save_picture(plt, figure, path)
        return
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(9, 2.6 + 0.4 * (len(causes) + len(types))), layout="constrained",
        gridspec_kw={"height_ratios": (len(causes) + 1, len(types) + 1)},
    )  # fmt: skip
    _bars(above, [words[one["cause"]] for one in causes], [float(one["usd"]) for one in causes], "0.55")
    above.set_xlabel("US dollars paid for and not used, by cause")
    names = [one["name"] for one in types]
    paid = [float(one["paid_usd"]) for one in types]
    below.barh(range(len(names)), paid, color="white", edgecolor="0.25", height=0.6, label="paid")
    _bars(below, names, [float(one["usd"]) for one in types], "0.55", label="of no use")
    below.set_xlabel("US dollars, by GPU type")
    below.legend(frameon=False, fontsize=8, loc="lower right")
    total = report["total"]
    figure.suptitle(
        f"{_whose(report)}: ${float(total['usd']):,.2f} of ${float(total['paid_usd']):,.2f} were of no use",
        fontsize=10,
        parse_math=False,  # two dollar signs would be a formula
    )
    save_picture(plt, figure, path)


def _whose(report: Mapping[str, Any]) -> str:
    return f"{report['tenant'] or 'all tenants'}, {report['since'][:10]} to {report['until'][:10]}"


def _bars(axes: Any, names: Sequence[str], values: Sequence[float], color: str, label: str | None = None) -> None:
    places = range(len(names))
    axes.barh(places, values, color=color, edgecolor="0.25", height=0.6, label=label)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:,.2f}", (value, place), xytext=(4, 0), textcoords="offset points", va="center",
                      fontsize=8, bbox={"boxstyle": "square,pad=0", "color": "white", "alpha": 0.7})  # fmt: skip
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("${x:,g}")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
