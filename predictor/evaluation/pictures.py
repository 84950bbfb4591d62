"""The pictures of a report as SVG: what is filled is learned, what is hollow is arithmetic; colour says nothing that
shape and shade do not, so that they can be read in grey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from io import StringIO
from typing import Any

import numpy as np

from predictor.evaluation.ablations import AS_SHIPPED
from predictor.evaluation.judged import Judged
from predictor.evaluation.report import Report
from predictor.features import Task

_DARK, _MIDDLE, _LIGHT = "#1b2a41", "#6b7a90", "#c9d1db"
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D")
_BAND = 1.25
"""Factor within which a forecast is drawn between two lines."""


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    try:
        import_module("matplotlib")
    except ImportError:
        return False
    return True


def pictures(report: Report) -> dict[str, str]:
    """SVG by section; a section of which there is nothing to draw has none."""
    drawn: dict[str, Callable[[Report], str | None]] = {
        "errors": _errors,
        "scatter": _scatter,
        "calibration": _calibration,
        "reliability": _reliability,
        "learning_curve": _curve,
        "ablations": _ablations,
    }
    found = {name: draw(report) for name, draw in drawn.items()}
    return {name: svg for name, svg in found.items() if svg is not None}


def _words(task: object) -> str:
    return str(task).replace("_", " ")


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    matplotlib: Any = import_module("matplotlib")
    matplotlib.rcParams.update({
        "svg.hashsalt": "pythia", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9, "legend.frameon": False,
    })  # fmt: skip
    # a Figure of its own rather than pyplot's: no window system, and nothing kept after it is written
    figure: Any = import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _svg(figure: Any) -> str:
    text = StringIO()
    figure.savefig(text, format="svg", dpi=110, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _tasks(report: Report) -> list[Task]:
    return list(dict.fromkeys(one.task for one in report.scores))


def _errors(report: Report) -> str | None:
    tasks = _tasks(report)
    if not tasks:
        return None
    figure, axes = _panels(1, len(tasks), 3.1 * len(tasks), 2.4)
    for axis, task in zip(axes[0], tasks, strict=True):
        mine = [one for one in report.scores if one.task == task]
        places = np.arange(len(mine))
        for place, one in zip(places, mine, strict=True):
            ends = (100 * one.overall.learned, 100 * one.overall.arithmetic)
            axis.plot(ends, (place, place), color=_LIGHT, zorder=1)
        axis.scatter([100 * one.overall.arithmetic for one in mine], places, marker="o", facecolors="white",
                     edgecolors=_DARK, label="arithmetic alone", zorder=2)  # fmt: skip
        axis.scatter([100 * one.overall.learned for one in mine], places, color=_DARK, label="learned", zorder=3)
        axis.set_yticks(places, [one.grouping.replace("_", " ") for one in mine])
        axis.invert_yaxis()
        axis.margins(x=0.08, y=0.2)
        axis.set_xlim(left=0)
        axis.set_xlabel("median error (%)")
        axis.set_title(_words(task))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _svg(figure)


def _scatter(report: Report) -> str | None:
    shown = [one for one in report.judged if one.grouping in ("configuration", "site")]
    if not shown:
        return None
    groupings = list(dict.fromkeys(one.grouping for one in shown))
    tasks = list(dict.fromkeys(one.task for one in shown))
    figure, axes = _panels(len(groupings), len(tasks), 3.1 * len(tasks), 3.1 * len(groupings))
    for axis in axes.ravel():
        axis.set_visible(False)
    for one in shown:
        _points(axes[groupings.index(one.grouping)][tasks.index(one.task)], one)
    return _svg(figure)


def _points(axis: Any, judged: Judged) -> None:
    axis.set_visible(True)
    measured, said = np.exp(judged.found.measured), np.exp(judged.said.p50)
    counted, bound = judged.counted, judged.found.lower_bound
    toys = judged.done & ~counted
    ends = np.array([min(measured.min(), said.min()), max(measured.max(), said.max())]) * (0.8, 1.25)
    for factor, style in ((1.0, "-"), (_BAND, ":"), (1 / _BAND, ":")):
        axis.plot(ends, ends * factor, style, color=_MIDDLE, linewidth=0.8, zorder=1)
    # thousands of marks as paths would make the page many megabytes
    axis.scatter(measured[toys], said[toys], s=7, marker="x", color=_MIDDLE, linewidths=0.6, rasterized=True)
    axis.scatter(measured[counted], said[counted], s=5, color=_DARK, alpha=0.35, linewidths=0, rasterized=True)
    axis.scatter(measured[bound], said[bound], s=18, marker=">", facecolors="white", edgecolors=_DARK, linewidths=0.8)
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    unit = "GiB" if judged.task.is_memory else "s per step" if judged.task is Task.TRAINING_TIME else "s per job"
    axis.set_xlabel(f"measured ({unit})")
    axis.set_ylabel(f"forecast p50 ({unit})")
    axis.set_title(f"{_words(judged.task)}\n{judged.grouping} unseen")


def _calibration(report: Report) -> str | None:
    tasks = list(dict.fromkeys(one.task for one in report.levels))
    if not tasks:
        return None
    figure, axes = _panels(1, len(tasks), 3.1 * len(tasks) + 1.2, 3.1)
    for axis, task in zip(axes[0], tasks, strict=True):
        mine = [one for one in report.levels if one.task == task]
        for place, grouping in enumerate(dict.fromkeys(one.grouping for one in mine)):
            points = [(one.level, one.below) for one in mine if one.grouping == grouping]
            axis.plot(*zip(*points, strict=True), _LINES[place % 4], marker=_MARKERS[place % 4], markersize=3,
                      color=_DARK if place < 2 else _MIDDLE, label=grouping.replace("_", " "))  # fmt: skip
        _diagonal(axis)
        axis.set_xlabel("nominal level of the quantile")
        axis.set_ylabel("share of measurements below it")
        axis.set_title(_words(task))
    figure.legend(*axes[0][0].get_legend_handles_labels(), title="unseen", loc="outside right center")
    return _svg(figure)


def _reliability(report: Report) -> str | None:
    kinds = list(dict.fromkeys((one.task, one.on) for one in report.reliability))
    if not kinds:
        return None
    figure, axes = _panels(1, len(kinds), 3.1 * len(kinds) + 1.2, 3.1)
    for axis, (task, on) in zip(axes[0], kinds, strict=True):
        mine = [one for one in report.reliability if (one.task, one.on) == (task, on)]
        for place, grouping in enumerate(dict.fromkeys(one.grouping for one in mine)):
            bins = [one for one in mine if one.grouping == grouping]
            axis.plot([one.said for one in bins], [one.fitted for one in bins], _LINES[place % 4],
                      color=_DARK if place < 2 else _MIDDLE, linewidth=0.8)  # fmt: skip
            axis.scatter([one.said for one in bins], [one.fitted for one in bins], marker=_MARKERS[place % 4],
                         s=[6 + 12 * np.log10(one.cases) for one in bins], color=_DARK if place < 2 else _MIDDLE,
                         label=grouping.replace("_", " "))  # fmt: skip
        _diagonal(axis)
        axis.set_xlabel("stated probability of fitting")
        axis.set_ylabel("share that fitted")
        axis.set_title(f"{_words(task)}, {on}")
    figure.legend(*axes[0][0].get_legend_handles_labels(), title="unseen", loc="outside right center")
    return _svg(figure)


def _diagonal(axis: Any) -> None:
    axis.plot((0, 1), (0, 1), color=_LIGHT, linewidth=1, zorder=0)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _curve(report: Report) -> str | None:
    tasks = list(dict.fromkeys(one.task for one in report.curve))
    if not tasks:
        return None
    figure, axes = _panels(1, len(tasks), 3.1 * len(tasks), 2.9)
    for axis, task in zip(axes[0], tasks, strict=True):
        mine = [one for one in report.curve if one.task == task]
        for source in dict.fromkeys(one.source for one in mine):
            points = sorted((one.own, 100 * one.error) for one in mine if one.source == source)
            style = {"color": _LIGHT, "linewidth": 0.9} if source else {"color": _DARK, "linewidth": 2, "marker": "o"}
            axis.plot(*zip(*points, strict=True), **style, label=None if source else "all but toys",
                      zorder=1 if source else 2)  # fmt: skip
            if source:
                axis.annotate(source, points[-1], fontsize=6, color=_MIDDLE)
        axis.set_xscale("symlog", linthresh=1)
        owned = sorted({one.own for one in mine})
        axis.set_xticks(owned, [str(own) for own in owned])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel("own configurations observed")
        axis.set_ylabel("median error on the others (%)")
        axis.set_title(_words(task))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center")
    return _svg(figure)


def _ablations(report: Report) -> str | None:
    kinds = list(dict.fromkeys((one.task, one.grouping) for one in report.ablations))
    if not kinds:
        return None
    tasks, groupings = (list(dict.fromkeys(column)) for column in zip(*kinds, strict=True))
    variants = list(dict.fromkeys(one.variant for one in report.ablations))
    figure, axes = _panels(len(groupings), len(tasks), 3.1 * len(tasks), (0.7 + 0.2 * len(variants)) * len(groupings))
    for row, grouping in enumerate(groupings):
        for column, task in enumerate(tasks):
            mine = {one.variant: one for one in report.ablations if (one.task, one.grouping) == (task, grouping)}
            _bars(axes[row][column], variants, [100 * mine[name].error if name in mine else None for name in variants])
            axes[row][column].set_title(f"{_words(task)}\n{grouping} unseen")
            axes[row][column].set_visible(bool(mine))
    return _svg(figure)


def _bars(axis: Any, variants: Sequence[str], errors: Sequence[float | None]) -> None:
    for place, (name, error) in enumerate(zip(variants, errors, strict=True)):
        if error is not None:
            axis.barh(place, error, color=_DARK if name == AS_SHIPPED else _LIGHT)
            axis.annotate(f" {error:.1f}", (error, place), va="center", fontsize=7)
            if name == AS_SHIPPED:
                axis.axvline(error, color=_DARK, linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(variants)), variants)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set_xlabel("median error (%)")
