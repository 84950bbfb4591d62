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
    plt = _pyplot()
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
    axes.set_title(_title(report), fontsize=10)
    _save(plt, figure, path)


def _title(report: Mapping[str, Any]) -> str:
    asked = report["question"]
    model = asked["model"] if isinstance(asked["model"], str) else "the architecture given"
    return f"What tokens of {model} cost: {asked['input_length']:g} in, {asked['output_length']:g} out"


def _pyplot() -> Any:
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "pythia"  # equal figures give equal files
    return import_module("matplotlib.pyplot")


def _save(plt: Any, figure: Any, path: Path) -> None:
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    try:
        figure.savefig(path, dpi=150, metadata=metadata)
    except OSError as error:
        raise CannotPlot(f"--plot {path} cannot be written: {error.strerror or error}") from None
    finally:
        plt.close(figure)
