"""Machines whose clocks differ write down one time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import scheduler.clock
from scheduler.clock import FORGIVEN, CommonClock

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Machine:
    """A machine's clock, and what passes on it."""

    def __init__(self, there: datetime) -> None:
        self.here, self.there, self.asked = NOON, there, 0

    def own(self) -> datetime:
        return self.here

    def ticks(self) -> float:
        return (self.here - NOON).total_seconds()

    def ask(self, _: object) -> datetime:
        self.asked += 1
        return self.there


def clock_of(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> CommonClock:
    monkeypatch.setattr(scheduler.clock, "time_there", machine.ask)
    return CommonClock(None, machine.own, machine.ticks)  # type: ignore[arg-type]


@pytest.mark.parametrize("off_s", [-300, -1.5, 1.5, 300])
def test_a_clock_that_is_off_is_corrected(off_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(NOON + timedelta(seconds=off_s))
    clock = clock_of(machine, monkeypatch)
    assert clock() == NOON + timedelta(seconds=off_s)
    machine.here += timedelta(seconds=5)
    assert clock() == NOON + timedelta(seconds=off_s + 5)
    assert machine.asked == 1


def test_what_is_less_than_a_second_stays_as_the_machine_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock_of(Machine(NOON + FORGIVEN), monkeypatch)() == NOON


def test_a_clock_that_was_set_meanwhile_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(NOON + timedelta(minutes=5))
    clock = clock_of(machine, monkeypatch)
    clock()
    machine.here += timedelta(minutes=5)
    machine.there = machine.here
    assert clock() == machine.here


def test_without_an_answer_the_last_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(NOON + timedelta(minutes=5))
    clock = clock_of(machine, monkeypatch)
    clock()

    def down(_: object) -> datetime:
        raise OSError("the server is down")

    monkeypatch.setattr(scheduler.clock, "time_there", down)
    machine.here += timedelta(minutes=1)
    assert clock() == machine.here + timedelta(minutes=5)
