"""Replay a trace under every policy, on the same arrivals, and say what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler.domain.arrays import Floats
from scheduler.replay.figures import Figures, measure, timeline
from scheduler.replay.policies import ORACLE, POLICIES, PYTHIA, Policy
from scheduler.replay.simulate import replay
from scheduler.replay.world import World

Say = Callable[[str], None]


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
    """Play every entry; the oracle first, since the others are compared with it."""
    played: dict[str, Figures] = {}
    waits: dict[str, Floats] = {}
    oracle_micros: int | None = None
    for entry in sorted(entries, key=lambda one: one.policy is not ORACLE):
        say(f"replaying {len(entry.world.jobs):,} jobs as {entry.name}")
        journal = replay(entry.world, entry.policy)
        columns = journal.columns()
        if entry.policy is ORACLE:
            oracle_micros = int(columns.cost_micros.sum())
        played[entry.name] = measure(
            entry.world, policy=entry.name, says=entry.says, journal=journal, oracle_micros=oracle_micros
        )
        waits[entry.name] = timeline(entry.world, columns).wait_s
    return Compared(
        figures=tuple(played[one.name] for one in entries), waits={one.name: waits[one.name] for one in entries}
    )
