"""Replay a trace under every policy, on the same arrivals, and say what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_all_start_methods, get_context

from scheduler.domain.arrays import Floats
from scheduler.replay.figures import Figures, measure, timeline
from scheduler.replay.policies import ORACLE, POLICIES, PYTHIA, Policy
from scheduler.replay.simulate import replay
from scheduler.replay.world import World

Say = Callable[[str], None]
Played = tuple[Figures, Floats]
"""What a policy came to, and each job's wait."""

SIDE_BY_SIDE = 5_000
"""Jobs from which policies are played in processes of their own, one a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A policy, and the world it plays in."""

    name: str
    says: str
    policy: Policy
    world: World


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Every policy's figures, in the order of `entries`."""

    figures: tuple[Figures, ...]
    waits: dict[str, Floats]
    """Each job's wait in seconds, by policy."""


def entries_of(world: World, doubted: World | None = None) -> list[Entry]:
    """Every policy in a world; in a measured one also Pythia with its memory forecasts in force."""
    entries = [Entry(name=one.name, says=one.says, policy=one, world=world) for one in POLICIES]
    if doubted is not None:
        says = "Pythia where nobody knows that the job runs on each cell: its memory forecast is in force"
        entries.append(Entry(name="pythia-unsure", says=says, policy=PYTHIA, world=doubted))
    return entries


def compare(entries: Sequence[Entry], say: Say = lambda sentence: None) -> Compared:
    """Play every entry, side by side where that pays; then compare them with the oracle."""
    say(f"replaying {len(entries[0].world.jobs):,} jobs as {', '.join(entry.name for entry in entries)}")
    played = _play_all(entries, say)
    oracle = next(
        figures.total_usd for entry, (figures, _) in zip(entries, played, strict=True) if entry.policy is ORACLE
    )
    return Compared(
        figures=tuple(replace(figures, regret=float(figures.total_usd / oracle) - 1) for figures, _ in played),
        waits={figures.policy: waits for figures, waits in played},
    )


def _play_all(entries: Sequence[Entry], say: Say) -> list[Played]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1 or len(entries[0].world.jobs) < SIDE_BY_SIDE or "fork" not in get_all_start_methods():
        return [_play(entry) for entry in entries]
    # a fork shares the worlds, which are large and hold functions; nobody changes them
    with ProcessPoolExecutor(min(cores, len(entries)), get_context("fork"), _share, (entries,)) as pool:
        plays = {pool.submit(_play_shared, place): entry.name for place, entry in enumerate(entries)}
        for done in as_completed(plays):
            say(f"replayed as {plays[done]}: ${done.result()[0].total_usd:,.0f}")
        return [play.result() for play in plays]


_shared: Sequence[Entry] = ()


def _share(entries: Sequence[Entry]) -> None:
    global _shared  # noqa: PLW0603 - a process of its own, for these entries alone
    _shared = entries


def _play_shared(place: int) -> Played:
    return _play(_shared[place])


def _play(entry: Entry) -> Played:
    journal = replay(entry.world, entry.policy)
    figures = measure(entry.world, policy=entry.name, says=entry.says, journal=journal, oracle_micros=None)
    return figures, timeline(entry.world, journal.columns()).wait_s
