"""A replay as a table for people and JSON for programs; every figure says what it rests on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.replay.figures import Figures
from scheduler.replay.trace import Trace

HEADER = (
    "POLICY", "$ TOTAL", "$/JOB", "REGRET", "OOM", "WASTE GPU·h", "WASTE GiB·h", "UTIL", "WAIT p50", "p95",
    "QUEUED p95", "MISSED",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All policies on the same arrivals."""

    basis: str
    """measured or modelled."""
    trace: str
    jobs: int
    left_out: dict[str, int]
    seed: int
    prices: str
    predictor: str
    """Version, or how it was trained."""
    notes: tuple[str, ...]
    figures: tuple[Figures, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "basis": self.basis, "trace": self.trace, "jobs": self.jobs, "left_out": self.left_out, "seed": self.seed,
            "prices": self.prices, "predictor": self.predictor, "notes": list(self.notes),
            "policies": [one.to_json() for one in self.figures],
        }  # fmt: skip

    def text(self) -> str:
        """The table, what it rests on above it and what its words mean below."""
        rows = [HEADER, *(_row(one) for one in self.figures)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
        lines = [
            f"{self.basis.upper()}: {self.jobs:,} jobs of {self.trace}, seed {self.seed}, predictor {self.predictor}",
            f"  prices: {self.prices}",
            *(f"  {note}" for note in self.notes),
            *(f"  left out: {many:,} lines with {reason}" for reason, many in self.left_out.items()),
            "",
            *(_aligned(row, widths) for row in rows),
            "",
            *(f"{one.policy:{widths[0]}}  {one.says}" for one in self.figures),
        ]
        return "\n".join(lines)


def make_report(
    trace: Trace,
    *,
    basis: str,
    seed: int,
    prices: str,
    predictor: str,
    notes: Sequence[str],
    figures: Sequence[Figures],
) -> Report:
    """Put together what was replayed."""
    return Report(
        basis=basis, trace=trace.name, jobs=len(trace), left_out=dict(trace.left_out), seed=seed, prices=prices,
        predictor=predictor, notes=tuple(notes), figures=tuple(figures),
    )  # fmt: skip


def save_report(report: Report, folder: Path) -> list[Path]:
    """Write report.json and report.txt; what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_text = folder / "report.json", folder / "report.txt"
    as_json.write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    as_text.write_text(report.text() + "\n", encoding="utf-8")
    return [as_json, as_text]


def _row(one: Figures) -> tuple[str, ...]:
    return (
        one.policy,
        f"{one.total_usd:,.0f}",
        f"{one.usd_per_job:,.2f}",
        "-" if one.regret is None else f"{100 * one.regret:+.1f} %",
        f"{one.out_of_memory:,} ({100 * one.oom_rate:.2f} %)",
        f"{one.wasted_gpu_hours:,.0f}",
        "-" if one.wasted_gib_hours is None else f"{one.wasted_gib_hours:,.0f}",
        f"{100 * one.utilisation:.1f} %",
        _time(one.wait_p50_s),
        _time(one.wait_p95_s),
        _time(one.queued_p95_s),
        f"{one.deadlines_missed:,} ({100 * one.deadlines_missed / one.deadlines:.2f} %)" if one.deadlines else "-",
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}" for place, (cell, width) in
             enumerate(zip(row, widths, strict=True))]  # fmt: skip
    return "  ".join(cells).rstrip()


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
