"""The tables of a report's page: values in, HTML out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from predictor.evaluation.ablations import AS_SHIPPED, Ablation
from predictor.evaluation.coverage import Level, Reliability
from predictor.evaluation.learning_curve import Point
from predictor.evaluation.scores import Score
from predictor.evaluation.slices import SliceError
from predictor.evaluation.worst import WorstRow

_LEFT_OUT_WITH = {"source": "site", "gpu_type": "gpu_type", "family": "family"}
"""What is held out to leave out a whole slice."""


def error_table(scores: Sequence[Score]) -> str:
    """One line for each task and way of holding out, then one for each toy source."""
    head = ("task", "unseen", "configurations", "error", "arithmetic alone", "mean of sources", "their arithmetic",
            "covered", "over-provision", "out of memory flagged", "roomy runs refused")  # fmt: skip
    rows = [
        (
            _words(one.task), _words(one.grouping), f"{one.overall.configurations:,}", _share(one.overall.learned),
            _share(one.overall.arithmetic), _share(one.source_mean), _share(one.source_mean_arithmetic),
            _share(one.overall.covered), _share(one.over_provision),
            f"{one.out_of_memory_flagged} of {one.out_of_memory}" if one.out_of_memory else "",
            _share(one.refused_roomy),
        )
        for one in scores
    ]  # fmt: skip
    return _table(head, rows, words=2)


def slice_table(slices: Sequence[SliceError], by: str) -> str:
    """One line for each task and slice: its configurations unseen, and all of it unseen."""
    found = {(one.task, one.name, one.grouping): one for one in slices if one.by == by}
    names = dict.fromkeys((task, name) for task, name, _ in found)
    what = by.replace("_", " ").replace("gpu", "GPU")
    head = ("task", what, "configurations", "error", "9 in 10 below", "covered", f"{what} unseen: error", "covered",
            "arithmetic alone")  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for task, name in names:
        near, far = found.get((task, name, "configuration")), found.get((task, name, _LEFT_OUT_WITH[by]))
        some = near or far
        if some is None:
            continue
        rows.append((
            _words(task), name, f"{some.configurations:,}",
            *((_share(near.learned), _share(near.worst_tenth), _share(near.covered)) if near else ("", "", "")),
            *((_share(far.learned), _share(far.covered)) if far else ("", "")), _share(some.arithmetic),
        ))  # fmt: skip
    return _table(head, rows, words=2)


def level_table(levels: Sequence[Level]) -> str:
    """Nominal levels across, tasks and groupings down."""
    nominal = list(dict.fromkeys(one.level for one in levels))
    lines: dict[tuple[str, str, int], dict[float, float]] = {}
    for one in levels:
        lines.setdefault((_words(one.task), _words(one.grouping), one.rows), {})[one.level] = one.below
    rows = [(*line[:2], f"{line[2]:,}", *(_share(below[level]) for level in nominal)) for line, below in lines.items()]
    return _table(("task", "unseen", "rows", *(f"≤ p{100 * level:g}" for level in nominal)), rows, words=2)


def reliability_table(bins: Sequence[Reliability]) -> str:
    """One line for each bin of stated probabilities."""
    head = ("task", "unseen", "on", "stated", "mean stated", "fitted", "cases")
    rows = [
        (_words(one.task), _words(one.grouping), one.on, f"{100 * one.low:g} to {100 * one.high:g} %",
         _share(one.said), _share(one.fitted), f"{one.cases:,}")
        for one in bins
    ]  # fmt: skip
    table = _table(head, rows, words=3)
    return f"<details><summary>as a table</summary>{table}</details>" if table else ""


def curve_table(points: Sequence[Point]) -> str:
    """Counts of own configurations across, tasks and sources down."""
    counts = sorted({one.own for one in points})
    lines: dict[tuple[str, str], dict[int, Point]] = {}
    for one in points:
        lines.setdefault((_words(one.task), one.source or "all but toys"), {})[one.own] = one
    rows = [
        (
            *line,
            *(f"{_share(found[own].error)} ({_share(found[own].covered)})" if own in found else "" for own in counts),
        )
        for line, found in lines.items()
    ]
    return _table(("task", "source", *(f"after {own}: error (covered)" for own in counts)), rows, words=2)


def _point(point: Point | None) -> str:
    return f"{_share(point.error)} ({_share(point.covered)})" if point else ""


def ablation_table(ablations: Sequence[Ablation]) -> str:
    """One line for each variant; what ships stands out."""
    head = ("task", "unseen", "variant", "what it does", "error", "p", "mean of sources", "covered", "pinball", "p",
            "over-provision", "out of memory flagged")  # fmt: skip
    rows = [
        (
            _words(one.task), _words(one.grouping), one.variant, one.says, _share(one.error), f"{one.error_p:.3f}",
            _share(one.source_mean), _share(one.covered), f"{one.pinball:.4f}", f"{one.pinball_p:.3f}",
            _share(one.over_provision),
            f"{one.out_of_memory_flagged} of {one.out_of_memory}" if one.out_of_memory else "",
        )
        for one in ablations
    ]  # fmt: skip
    return _table(head, rows, words=4, stands_out=AS_SHIPPED)


def worst_table(rows: Sequence[WorstRow]) -> str:
    """One line for each row, its features folded away."""
    head = ("task", "job", "source", "GPU type", "", "measured", "p50", "low to high", "arithmetic", "p50 / measured",
            "distance")  # fmt: skip
    lines = [
        (
            _words(one.task), _job(one), escape(one.source), escape(one.gpu_type), f"{one.place}",
            f"{one.measured:g} {one.unit}", f"{one.p50:g}", f"{one.low:g} to {one.high:g}", f"{one.arithmetic:g}",
            f"{one.ratio:.2f}", f"{one.distance:.2f}",
        )
        for one in rows
    ]  # fmt: skip
    return _table(head, lines, words=4, escaped=True)


def _job(one: WorstRow) -> str:
    features = "<br>".join(f"{escape(name)} = {value:g}" for name, value in one.features.items())
    return (
        f"{escape(one.job)}<details><summary>{escape(one.id)}, features</summary>"
        f'<div class="features">{features}</div></details>'
    )


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int, stands_out: str = "", escaped: bool = False
) -> str:
    """`words` columns at the left hold text; nothing where there are no rows."""
    if not rows:
        return ""
    lines = [f"<tr>{''.join(_cells('th', head, words))}</tr>"]
    for row in rows:
        mark = ' class="shipped"' if stands_out and stands_out in row else ""
        cells = row if escaped else [escape(cell) for cell in row]
        lines.append(f"<tr{mark}>{''.join(_cells('td', cells, words))}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _cells(tag: str, cells: Iterable[str], words: int) -> list[str]:
    return [f"<{tag}{' class=t' if place < words else ''}>{cell}</{tag}>" for place, cell in enumerate(cells)]


def _words(value: object) -> str:
    return str(value).replace("_", " ")


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
