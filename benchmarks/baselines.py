"""Baselines side by side: each on the rows it applies to, with what Pythia says of the same rows beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.baselines_outside import Answers, ask_aiconfigurator, ask_llm_analysis
from benchmarks.baselines_published import PUBLISHED, say
from predictor.evaluation.judged import Judged
from predictor.evaluation.scores import configuration_errors
from predictor.features import Task
from predictor.telemetry import Observation

LEAST = 5
"""Fewer configurations are no comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Median errors of the same configurations."""

    baseline: str
    task: Task
    configurations: int
    sources: tuple[str, ...]
    error: float
    """Of the baseline."""
    arithmetic: float
    configuration_unseen: float
    site_unseen: float | None
    """None where the task has one source only."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def side_by_side(observations: Sequence[Observation], judged: Sequence[Judged]) -> tuple[list[SideBySide], list[str]]:
    """Every baseline on every task it speaks of, and a line on each tool that was asked."""
    asked = {"llm-analysis": ask_llm_analysis(observations), "aiconfigurator": ask_aiconfigurator(observations)}
    memory = (Task.TRAINING_MEMORY, Task.INFERENCE_MEMORY)
    found = [
        row for name in PUBLISHED for row in _compared(name, judged, dict.fromkeys(memory, say(name, observations)))
    ]
    for name, answers in asked.items():
        found += _compared(name, judged, _by_task(answers))
    return found, [answers.says for answers in asked.values()]


def _by_task(answers: Answers) -> dict[Task, Mapping[str, float]]:
    return {task: answers.memory_gib if task.is_memory else answers.time_s for task in Task}


def _compared(name: str, judged: Sequence[Judged], said: Mapping[Task, Mapping[str, float]]) -> Iterable[SideBySide]:
    by_grouping = {(one.task, one.grouping): one for one in judged}
    for task, answers in said.items():
        near, far = by_grouping.get((task, "configuration")), by_grouping.get((task, "site"))
        row = compare(name, near, far, answers) if near else None
        if row is not None:
            yield row


def compare(name: str, near: Judged, far: Judged | None, answers: Mapping[str, float]) -> SideBySide | None:
    """One baseline on the rows that it answered; nothing where they are too few."""
    found = near.found
    mine = near.counted & np.isin(found.ids, list(answers))
    ends, measured = near.configuration[mine], found.measured[mine]
    if len(set(ends.tolist())) < LEAST:
        return None
    theirs = np.log([answers[str(row)] for row in found.ids[mine]])

    def error(said: Judged | None) -> float | None:
        return None if said is None else float(np.median(configuration_errors(ends, said.said.p50[mine], measured)))

    return SideBySide(
        baseline=name,
        task=near.task,
        configurations=len(set(ends.tolist())),
        sources=tuple(sorted(set(found.source[mine].tolist()))),
        error=float(np.median(configuration_errors(ends, theirs, measured))),
        arithmetic=float(np.median(configuration_errors(ends, found.arithmetic[mine], measured))),
        configuration_unseen=error(near) or 0.0,
        site_unseen=error(far),
    )


def table(rows: Sequence[SideBySide]) -> list[str]:
    """Lines for people."""
    head = ("BASELINE", "TASK", "CONFIGS", "ITS ERROR", "ARITHMETIC", "OURS, SETTING UNSEEN", "OURS, SOURCE UNSEEN")
    lines = ["".join(f"{cell:>22}" if place > 1 else f"{cell:18}" for place, cell in enumerate(head))] if rows else []
    for row in rows:
        shares = (row.error, row.arithmetic, row.configuration_unseen, row.site_unseen)
        cells = (f"{row.configurations:,}", *("" if share is None else f"{100 * share:.1f} %" for share in shares))
        lines.append(f"{row.baseline:18}{row.task:18}" + "".join(f"{cell:>22}" for cell in cells))
    return lines
