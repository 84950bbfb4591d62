"""Pictures of the economics for a slide, SVG or PNG, readable in grey. They need matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from predictor.errors import PythiaError

MOST_BARS = 16

FORMATS = (".svg", ".png")


class CannotPlot(PythiaError):
    """A picture cannot be drawn there, or not at all."""

    code = "cannot_plot"


def check_plot(path: Path) -> None:
    """CannotPlot where no picture could be written, before anything long is computed."""
    if path.suffix.lower() not in FORMATS:
        raise CannotPlot(f"--plot {path} must end in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise CannotPlot(f"--plot {path}: there is no folder {path.parent}")
    try:
        import_module("matplotlib")
    except ImportError:
        raise CannotPlot("--plot needs matplotlib: pip install matplotlib") from None


def plot_tokens(report: Mapping[str, Any], path: Path) -> None:
    """Dollars per million blended tokens of each GPU type's best offer, with the forecast's interval."""
    plt = pyplot()
    costs: Sequence[Mapping[str, Any]] = report["best_of_each_gpu_type"][:MOST_BARS]
    names = [
        f"{one['gpu_type']} × {one['gpu_count']}, {one['precision']}\n{one['provider']} {one['region']}".strip()
        for one in costs
    ]
    mid, low, high = ([float(one["blended_usd_per_mtok"][end]) for one in costs] for end in ("mid", "low", "high"))
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.4 * len(costs)), layout="constrained")
    # points, not bars: a logarithmic axis has no zero for a bar to stand on
    places = list(range(len(mid)))
    below = [m - one for m, one in zip(mid, low, strict=True)]
    above = [one - m for m, one in zip(mid, high, strict=True)]
    axes.errorbar(mid, places, xerr=(below, above), fmt="o", color="0.1", ecolor="0.45", capsize=3)
    for place, (value, end) in enumerate(zip(mid, high, strict=True)):
        axes.annotate(f"{value:.3f}", (end, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    ticks: Any = import_module("matplotlib.ticker")
    axes.xaxis.set_major_locator(ticks.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("${x:g}")
    axes.xaxis.set_minor_locator(ticks.NullLocator())
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("US dollars per million input and output tokens (logarithmic; lines: p10 to p90 of the forecast)")
    axes.set_title(picture_title(report, "What tokens cost:"), fontsize=10)
    save_picture(plt, figure, path)


def plot_crossover(report: Mapping[str, Any], path: Path) -> None:
    """Dollars a day against traffic, an API beside one's own, and what moves the break-even use most."""
    plt = pyplot()
    first, curve, moves = report["crossings"][0], report["curve"], report["moves"]
    figure, (axes, tornado) = plt.subplots(
        2, 1, figsize=(9, 8), layout="constrained", gridspec_kw={"height_ratios": (3, 2)}
    )
    traffic = [point["requests_per_day"] for point in curve]
    axes.fill_between(
        traffic, [p["dedicated_low_usd"] for p in curve], [p["dedicated_high_usd"] for p in curve], color="0.85",
        step="mid", label="the same, p10 to p90 of the forecast",
    )  # fmt: skip
    # whole copies are paid for: between two steps one's own cost stays, it does not climb
    axes.plot(
        traffic, [p["dedicated_usd"] for p in curve], color="0.1", drawstyle="steps-mid",
        label="cheapest deployments of one's own",
    )  # fmt: skip
    axes.plot(
        traffic,
        [p["api_usd"] for p in curve],
        color="0.1",
        linestyle="--",
        label=f"{first['provider']}, per token, price of {first['price_date']}",
    )
    if found := first["crossing"]:
        axes.axvline(found["requests_per_day"], color="0.5", linestyle=":")
    begins = (found or first["lowest_utilisation"])["requests_per_day"]
    axes.text(begins, 0.04, _crossing(first), transform=axes.get_xaxis_transform(), fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("${x:,g}")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("requests a day (logarithmic)")
    axes.set_ylabel("US dollars a day (logarithmic)")
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(picture_title(report, "Own deployment or a price per token:"), fontsize=10)
    _tornado(tornado, first, moves, report["question"].get("max_utilisation", 0.8))
    save_picture(plt, figure, path)


def _crossing(first: Mapping[str, Any]) -> str:
    """From when on, what that would be at the ends of the forecast, and from when on for good."""

    def said(requests_per_day: float | None) -> str:
        return "never" if requests_per_day is None else f"{requests_per_day:,.0f}"

    fast, slow = (
        said(first[end] and first[end]["requests_per_day"]) for end in ("crossing_if_fast", "crossing_if_slow")
    )
    if first["crossing"] is None:
        return f"  never cheaper\n  (from {fast} .. {slow} at the ends of the forecast)"
    return (
        f"  cheaper from {first['crossing']['requests_per_day']:,.0f} requests a day\n"
        f"  ({fast} .. {slow} at the ends of the forecast),\n"
        f"  always from {said(first['always_requests_per_day'])}"
    )


def _tornado(axes: Any, first: Mapping[str, Any], moves: Sequence[Mapping[str, Any]], most: float) -> None:
    middle = 100 * (first["crossing"] or first["lowest_utilisation"])["utilisation"]
    low, high = ([100 * one[end] for one in moves] for end in ("low", "high"))
    places = list(range(len(moves)))
    axes.barh(
        places, [h - m for h, m in zip(high, low, strict=True)], left=low, color="0.8", edgecolor="0.25", height=0.55
    )
    for place, one in enumerate(moves):
        axes.annotate(one["low_is"], (low[place], place), xytext=(-4, 0), textcoords="offset points", va="center",
                      ha="right", fontsize=7)  # fmt: skip
        axes.annotate(one["high_is"], (high[place], place), xytext=(4, 0), textcoords="offset points", va="center",
                      fontsize=7)  # fmt: skip
    axes.axvline(middle, color="0.1", linewidth=1)
    axes.axvline(100 * most, color="0.1", linewidth=1, linestyle="--")
    axes.set_yticks(places, [one["cause"] for one in moves], fontsize=8)
    axes.invert_yaxis()
    axes.use_sticky_edges = False  # or the lowest bar would leave its label no room
    axes.margins(x=0.25)
    axes.set_xlabel(
        "break-even use of the deployment, % of its capacity; line: as asked, "
        f"dashed: above {100 * most:g} never cheaper"
    )


def picture_title(report: Mapping[str, Any], what: str) -> str:
    """What was asked, after some words."""
    asked = report["question"]
    model = asked["model"] if isinstance(asked["model"], str) else "the architecture given"
    read, written = (
        f"{asked[name]:,.0f}" if asked[name] >= 10 else f"{asked[name]:g}" for name in ("input_length", "output_length")
    )
    return f"{what} {model}, {read} tokens in, {written} out"


def pyplot() -> Any:
    """Matplotlib, drawing into files only."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "pythia"  # equal figures give equal files
    return import_module("matplotlib.pyplot")


def save_picture(plt: Any, figure: Any, path: Path) -> None:
    """Write and close a figure; CannotPlot where that fails."""
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    try:
        figure.savefig(path, dpi=150, metadata=metadata)
    except OSError as error:
        raise CannotPlot(f"--plot {path} cannot be written: {error.strerror or error}") from None
    finally:
        plt.close(figure)
