"""Three pictures of a replay as SVG: what it cost, on which cards, and how long jobs waited. They need matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from scheduler.domain.arrays import Floats
from scheduler.replay.figures import Figures

_SHOWN_CARDS = 14


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    try:
        import_module("matplotlib")
    except ImportError:
        return False
    return True


def save_plots(figures: Sequence[Figures], waits: Mapping[str, Floats], folder: Path, *, basis: str) -> list[Path]:
    """Draw into a folder; `waits` are each policy's waits in seconds, job by job. What was written."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pythia"  # equal figures give equal files
    plt: Any = import_module("matplotlib.pyplot")
    colours = plt.get_cmap("tab20").colors
    matplotlib.rcParams["axes.prop_cycle"] = import_module("cycler").cycler(color=colours[::2] + colours[1::2])
    pictures: dict[str, Callable[[Any], None]] = {
        "cost": lambda axes: _cost(axes, figures),
        "cards": lambda axes: _cards(axes, figures),
        "waits": lambda axes: _waits(axes, waits),
    }
    written = []
    for name, draw in pictures.items():
        figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        draw(axes)
        axes.set_title(f"{axes.get_title()} ({basis})")
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
        written.append(path)
    return written


def _cost(axes: Any, figures: Sequence[Figures]) -> None:
    names = [one.policy for one in figures]
    bars = axes.barh(names, [float(one.total_usd) for one in figures])
    above = ["" if one.regret is None else f" ({100 * one.regret:+.1f} %)" for one in figures]
    axes.bar_label(bars, [f" ${one.total_usd:,.0f}{more}" for one, more in zip(figures, above, strict=True)])
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("US dollars in all (above the oracle)")
    axes.set_title("What all jobs cost")


def _cards(axes: Any, figures: Sequence[Figures]) -> None:
    totals: dict[str, float] = {}
    for one in figures:
        for card, usd in one.usd_by_gpu_type.items():
            totals[card] = totals.get(card, 0.0) + float(usd / one.total_usd)
    shown = sorted(totals, key=lambda card: -totals[card])[:_SHOWN_CARDS]
    left = np.zeros(len(figures))
    for number, card in enumerate((*shown, "others")):
        shares = np.array([_share(one, card, shown) for one in figures])
        colour = "lightgrey" if card == "others" else f"C{number}"
        axes.barh([one.policy for one in figures], shares, left=left, label=card, color=colour)
        left += shares
    axes.invert_yaxis()
    axes.set_xlabel("share of the policy's dollars")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.set_title("Where the money went")


def _share(one: Figures, card: str, shown: Sequence[str]) -> float:
    spent = one.usd_by_gpu_type
    usd = sum(spent[name] for name in spent if name not in shown) if card == "others" else spent.get(card, 0)
    return float(usd / one.total_usd)


def _waits(axes: Any, waits: Mapping[str, Floats]) -> None:
    shares = np.linspace(0.0, 1.0, 201)
    for name, seconds in waits.items():
        axes.plot(np.maximum(np.quantile(seconds, shares), 1.0), shares, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("seconds from submission to the beginning of the work")
    axes.set_ylabel("share of jobs")
    axes.legend(frameon=False)
    axes.set_title("How long jobs waited")
