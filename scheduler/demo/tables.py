"""The demo's two tables: all jobs, predicted beside measured, and how the forecast of one kind was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from scheduler.cli.plan_table import candidate_cell
from scheduler.cli.wording import ABSENT, columns, duration, gib, span, usd
from scheduler.demo.cast import Story

Json = Mapping[str, Any]

SUMMARY_HEADER = (
    "JOB", "GPU × N", "WHERE", "GiB p50 .. p95", "WAS", "TIME p50 .. p90", "WAS", "$ CHOICE", "$ NAIVE", "$ BILLED",
    "OUTCOME", "TRIES",
)  # fmt: skip


def summary(stories: Sequence[Story]) -> list[str]:
    """Every job in a line, and the sum of what the choices were worth."""
    rows = [_summary_row(story) for story in stories]
    lines = columns(SUMMARY_HEADER, rows, right=(4, 6, 7, 8, 9, 11))
    lines += [
        "s: VRAM, time and bill of this job are drawn by a simulated provider; the command itself ran here.",
        "$ CHOICE and $ NAIVE: expected cost of the whole job on the first placement, and on the lowest price per hour",
        "whose memory holds the weights.",
    ]
    return [*lines, *_saved(stories)]


def _summary_row(story: Story) -> tuple[str, ...]:
    job, first = story.job, story.decisions[0]
    if not story.attempts:
        nearest = first["candidates"][0]["reason"] if first["candidates"] else "no offers"
        return (job["name"], *[ABSENT] * 9, f"{job['state']}: {nearest}", "0")
    attempt = story.attempts[-1]
    forecast = attempt["forecast"]
    vram, runtime = forecast["peak_vram_gib"], forecast["runtime_s"]
    choice = chosen_cost(first)
    return (
        job["name"],
        candidate_cell(attempt),
        " ".join(filter(None, (attempt["provider"], attempt["region"]))),
        span(gib(vram["p50"]), gib(vram["p95"])),
        gib(attempt["peak_vram_gib"]),
        span(duration(runtime["p50"]), duration(runtime["p90"])),
        duration(attempt["runtime_s"]),
        usd(choice),
        usd(first["naive_cost_usd"]),
        usd(job["spent_usd"]) + (" s" if job["simulated"] else ""),
        attempt["outcome"] or attempt["state"],
        str(job["attempts_made"]),
    )


def chosen_cost(decision: Json) -> Decimal | None:
    """Expected cost of the chosen candidate, dollars."""
    chosen = next((c for c in decision["candidates"] if c["verdict"] == "chosen"), None)
    return None if chosen is None or chosen["cost_usd"] is None else Decimal(chosen["cost_usd"]["expected"])


def _saved(stories: Sequence[Story]) -> list[str]:
    pairs = [
        (chosen, Decimal(naive))
        for story in stories
        if story.decisions[0]["objective"] == "cost"  # whoever asked for time did not ask to save
        and (chosen := chosen_cost(story.decisions[0])) is not None
        and (naive := story.decisions[0]["naive_cost_usd"]) is not None
    ]
    if not pairs:
        return []
    chosen, naive = (sum(column, Decimal(0)) for column in zip(*pairs, strict=True))
    who = f"the {len(pairs)} placed jobs that asked for the least cost"
    return [f"Together: ${usd(chosen)} chosen, ${usd(naive)} naive, over {who}."]


def learning(runs: Sequence[Story]) -> list[str]:
    """One line a run: what the forecast rested on, what it said, and what the clock said."""
    header = ("RUN", "FORECAST FROM", "p10 .. p90", "p50", "WAS", "OFF BY")
    return columns(header, [_learning_row(number, story) for number, story in enumerate(runs, 1)], right=(0, 3, 4, 5))


def first_and_last(runs: Sequence[Story]) -> list[str]:
    """The first and the last forecast beside what happened."""
    return [
        _beside("run 1", "what its user said", runs[0]),
        _beside(f"run {len(runs)}", f"{len(runs) - 1} earlier runs", runs[-1]),
    ]


def _beside(name: str, source: str, story: Story) -> str:
    attempt = story.attempts[-1]
    runtime = attempt["forecast"]["runtime_s"]
    band = span(duration(runtime["p10"]), duration(runtime["p90"]))
    return (
        f"{name:<7} forecast {duration(runtime['p50'])} ({band}) from {source}, took {duration(attempt['runtime_s'])}: "
        f"off by {off_by(story) * 100:,.0f} %"
    )


def _learning_row(number: int, story: Story) -> tuple[str, ...]:
    attempt = story.attempts[-1]
    runtime = attempt["forecast"]["runtime_s"]
    return (
        str(number),
        {"stated": "what its user said", "history": "earlier runs"}.get(attempt["forecast"]["basis"], "arithmetic"),
        span(duration(runtime["p10"]), duration(runtime["p90"])),
        duration(runtime["p50"]),
        duration(attempt["runtime_s"]),
        f"{off_by(story) * 100:,.0f} %",
    )


def off_by(story: Story) -> float:
    """Relative error of the median forecast of the runtime."""
    attempt = story.attempts[-1]
    return abs(float(attempt["forecast"]["runtime_s"]["p50"]) / float(attempt["runtime_s"]) - 1)
