"""A picture of what each way of coming by GPUs costs over time, readable in grey."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler.economics.plots import pyplot, save_picture

_STYLES = {
    "buy": ("0.0", "-"), "reserved": ("0.35", "--"), "on_demand": ("0.35", "-"), "serverless": ("0.35", ":"),
    "api": ("0.35", "-."),
}  # fmt: skip


def plot_roi(report: Mapping[str, Any], words: Mapping[str, str], path: Path) -> None:
    """Discounted dollars spent up to each month by way, and the interval of each at the end."""
    plt = pyplot()
    ways = report["ways"]
    figure, (axes, below) = plt.subplots(
        2, 1, figsize=(9, 7), layout="constrained", gridspec_kw={"height_ratios": (3, 1.3)}
    )
    for one in ways:
        spent = [float(usd) / 1000 for usd in one["cumulative_usd"]]
        color, style = _STYLES[one["way"]]
        axes.plot(spent, color=color, linestyle=style, linewidth=2, label=_label(one["way"], words))
        if (paid := one["payback"]) and paid["months"]:
            axes.plot(paid["months"], spent[paid["months"]], "o", color="0.0", markerfacecolor="white")
            axes.annotate(f"month {paid['months']}", (paid["months"], spent[paid["months"]]), xytext=(-6, 6),
                          textcoords="offset points", fontsize=8, ha="right")  # fmt: skip
    axes.set_xlabel("months from the decision (circles: owning has cost no more from here on)")
    axes.set_ylabel("thousand US dollars spent, discounted")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8, handlelength=4)
    asked = report["question"]
    axes.set_title(f"Own, rent or pay per use: {asked['gpus']} × {asked['gpu_type']}", fontsize=10)
    places = list(range(len(ways)))
    mid, low, high = ([float(one["drawn"][end]) / 1000 for one in ways] for end in ("p50", "p10", "p90"))
    apart = [[m - one for m, one in zip(mid, low, strict=True)], [one - m for m, one in zip(mid, high, strict=True)]]
    below.errorbar(mid, places, xerr=apart, fmt="o", color="0.1", ecolor="0.45", capsize=3)
    names = [f"{words[one['way']]}, cheapest in {100 * one['cheapest_probability']:.0f} %" for one in ways]
    below.set_yticks(places, names, fontsize=8)
    below.invert_yaxis()
    below.margins(y=0.2)
    below.grid(axis="x", color="0.9")
    below.xaxis.set_major_formatter("{x:,g}")
    below.set_xlabel("thousand US dollars over the horizon, discounted (p10, p50, p90 of the draws)")
    save_picture(plt, figure, path)


def _label(way: str, words: Mapping[str, str]) -> str:
    return f"{words[way]} (sold again in the last month)" if way == "buy" else words[way]
