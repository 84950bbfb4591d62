"""A picture of what each way to serve a model costs a month, readable in grey."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler.economics.plots import pyplot, save_picture

_STYLES = {
    "stay": ("stay", "0.0", "-"), "other_api": ("another API", "0.0", ":"),
    "dedicated": ("rent, all day", "0.45", "-"), "elastic": ("rent, as needed", "0.45", "--"),
    "reserved": ("reserve", "0.7", "-"), "buy": ("buy (capital spread)", "0.7", "--"),
}  # fmt: skip
"""Name, grey and line: black is an API, darker grey is rent, lighter grey is owned."""


def plot_assess(report: Mapping[str, Any], path: Path) -> None:
    """Dollars a month from the day of the assessment, one panel for each model."""
    plt = pyplot()
    findings = report["findings"]
    figure, panels = plt.subplots(
        len(findings), 1, figsize=(11, 1.2 + 3.6 * len(findings)), layout="constrained", squeeze=False
    )
    for axes, found in zip(panels[:, 0], findings, strict=True):
        _panel(axes, found, report)
    panels[-1, 0].set_xlabel(f"months from {report['as_of']}")
    used = report["price_list"]
    days = " to ".join(dict.fromkeys((used["oldest"], used["newest"])))
    figure.suptitle(f"What serving costs, compared from {report['switch']} on; API prices of {days}", fontsize=10)
    save_picture(plt, figure, path)


def _panel(axes: Any, found: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    first = found["first_month"]
    before = [float(usd) / 1000 for usd in found["bills_before_usd"]]
    for way in found["ways"]:
        name, grey, line = _STYLES[way["way"]]
        months = [float(usd) / 1000 for usd in way["monthly_usd"]]
        start = 0 if way["way"] == "stay" else first
        values = [*before, *months] if way["way"] == "stay" else months
        label = f"{name}: ${float(way['total_usd']):,.0f}" + (", ruled out" if way["refused"] else "")
        chosen = way["way"] == found["best"]
        edges = list(range(start, first + len(months) + 1))
        axes.stairs(
            values, edges, baseline=None, color=grey, linestyle=line, linewidth=3.2 if chosen else 1.5,
            label=label + (", best" if chosen else ""),
        )  # fmt: skip
    if first:
        what = "on credits" if report["credits_end"] else "before the switch"
        axes.axvspan(0, first, color="0.95", zorder=0)
        axes.annotate(
            what, (0, 0.97), xycoords=axes.get_xaxis_transform(), xytext=(3, 0), textcoords="offset points", va="top",
            fontsize=8,
        )  # fmt: skip
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("thousand US dollars a month")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.set_title(f"{found['model']}, {found['requests_per_day']:,.0f} requests a day on the first day", fontsize=9)
    axes.legend(
        frameon=False, fontsize=8, handlelength=4, title="in all, from the switch on", title_fontsize=8,
        loc="upper left", bbox_to_anchor=(1.0, 1.0),
    )  # fmt: skip
