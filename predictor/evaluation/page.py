"""A report as one HTML page that needs nothing beside it: pictures inline, no script, no address of anyone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from predictor.evaluation.page_tables import (
    ablation_table,
    curve_table,
    error_table,
    level_table,
    reliability_table,
    slice_table,
    worst_table,
)
from predictor.evaluation.report import Report
from predictor.evaluation.slices import BY

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b2a41; background: #fff; max-width: 82rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } p { max-width: 52rem; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #c9d1db; padding-top: 1rem; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #e6eaef; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid #6b7a90; } .t { text-align: left; }
td { white-space: nowrap; } td.t { max-width: 34rem; white-space: normal; }
.wide { overflow-x: auto; } .shipped { font-weight: 600; } nav a { margin-right: 1rem; }
details { font-size: 12px; } summary { cursor: pointer; color: #6b7a90; } .features { columns: 3; }
"""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    head: str
    says: str
    tables: Callable[[Report], Sequence[str]]


_SECTIONS = (
    _Section(
        "errors",
        "Errors",
        """Each row is a training that has seen nothing of what it forecasts: all rows of a configuration, a model
        family, a GPU type or a source (site) are held out together. The error is the median of
        |forecast / measured − 1|, a configuration counting once; toys have no part in the totals. Covered are the
        rows below p95 (memory, 95 % promised) or between p10 and p90 (time, 80 % promised).""",
        lambda report: [error_table(report.scores)],
    ),
    _Section(
        "slices",
        "By source, GPU type and model family",
        """The same errors, slice by slice: once with only the configuration unseen, and once with the whole source,
        card or family unseen.""",
        lambda report: [slice_table(report.slices, by) for by in BY],
    ),
    _Section(
        "scatter",
        "Forecast against measured",
        """One mark for each row. The line is a perfect forecast, the dotted ones are 1.25 times above and below it;
        crosses are toys, and open triangles ran out of memory, so that the truth lies to their right.""",
        lambda _: (),
    ),
    _Section(
        "calibration",
        "Calibration",
        """How many measurements lie below each quantile. On the diagonal, probabilities mean what they say; below it
        on the right, forecasts are too low too often.""",
        lambda report: [level_table(report.levels)],
    ),
    _Section(
        "reliability",
        "Reliability of the probability of fitting",
        """What was said to fit with about the same probability, and how much of it did. “Own card” are the runs as
        they went: all that completed did fit, so only those out of memory can contradict. “Every size” asks of each
        measured peak whether it is below the memory of cards from 6 to 288 GiB. The larger a mark, the more cases.""",
        lambda report: [reliability_table(report.reliability)],
    ),
    _Section(
        "learning_curve",
        "A new site",
        """Errors on a source's other configurations, before and after some of its own were observed, the shipped part
        having seen none of that source. Medians over seeded draws.""",
        lambda report: [curve_table(report.curve)],
    ),
    _Section(
        "ablations",
        "What each choice is worth",
        """The same training with one thing left out, on the same folds of at most 1,000 configurations. The pinball
        loss judges the promised quantiles, lower is better. p is that of the variant being no worse than what ships,
        by the signs of paired differences of configurations: near 0 the choice is borne out, near 1 the variant is
        better.""",
        lambda report: [ablation_table(report.ablations)],
    ),
    _Section(
        "worst",
        "The worst rows",
        "Held out by configuration; one row of each. What they have in common is the next thing to learn.",
        lambda report: [worst_table(report.worst)],
    ),
)


def write_report(report: Report, svgs: Mapping[str, str], folder: Path) -> list[Path]:
    """Write report.html and report.json; what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    as_html, as_json = folder / "report.html", folder / "report.json"
    as_html.write_text(page(report, svgs), encoding="utf-8")
    as_json.write_text(json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return [as_html, as_json]


def page(report: Report, svgs: Mapping[str, str]) -> str:
    """The whole page; a section that was left out says so."""
    many = sum(report.sources.values())
    title = f"How well Pythia forecasts {many:,} observations"
    links = "".join(f'<a href="#{part.name}">{escape(part.head)}</a>' for part in _SECTIONS)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Made {escape(report.created)} by revision {escape(report.git_revision)}, seed {report.seed}. Sources: "
        + escape(", ".join(f"{name} ({rows:,})" for name, rows in report.sources.items()))
        + ".</p>",
        f"<nav>{links}</nav>",
        *(_section(report, part, svgs.get(part.name)) for part in _SECTIONS),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _section(report: Report, part: _Section, svg: str | None) -> str:
    shown = [table for table in part.tables(report) if table]
    drawn = [f'<figure aria-label="{escape(part.head)}">{svg}</figure>'] if svg else []
    body = (
        [f"<p>{escape(part.says)}</p>", *drawn, *shown] if shown or drawn else ["<p>Left out of this evaluation.</p>"]
    )
    return "\n".join([f'<section id="{part.name}"><h2>{escape(part.head)}</h2>', *body, "</section>"])
