"""A provider on disk: a machine is opened once per key, metered by its own clock, and gone for good once it is gone."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from threading import Thread

import pytest

from tests.workers.works import make_machine
from workers.backends.base import MachinePhase, MachineReport, StartFailed
from workers.backends.book import MachineBook


@pytest.fixture
def book(tmp_path: Path) -> MachineBook:
    return MachineBook(directory=tmp_path / "machines", time_scale=0.0)


def test_the_same_key_is_the_same_machine(book: MachineBook) -> None:
    machine = make_machine()
    assert book.open(machine).phase is MachinePhase.READY
    book.open(machine)
    assert [report.key for report in book.live()] == [machine.key]


def test_a_machine_that_was_given_back_cannot_be_ordered_again(book: MachineBook) -> None:
    machine = make_machine()
    book.open(machine)
    closed = book.close(machine.key)
    assert closed.phase is MachinePhase.GONE
    assert book.open(machine) == book.close(machine.key) == closed
    assert book.live() == []
    with pytest.raises(StartFailed, match="gone"):
        book.begin(machine.key, "late")


def test_an_order_that_comes_after_its_cancellation_opens_nothing(book: MachineBook) -> None:
    machine = make_machine()
    assert book.close(machine.key).metered_s is None
    assert book.open(machine).phase is MachinePhase.GONE
    assert book.live() == []


def test_one_attempt_at_a_time(book: MachineBook) -> None:
    machine = make_machine()
    book.open(machine)
    assert book.begin(machine.key, "a") == book.begin(machine.key, "a")
    with pytest.raises(StartFailed, match="busy"):
        book.begin(machine.key, "b")
    first = book.end(machine.key, "a", used_s=100.0, ended_at=0.0)
    assert first == book.end(machine.key, "a", used_s=555.0, ended_at=0.0)
    with pytest.raises(StartFailed, match="gone"):
        book.begin(machine.key, "a")
    book.begin(machine.key, "b")


def test_the_first_use_pays_for_provisioning_and_idle_time_belongs_to_nobody(book: MachineBook) -> None:
    machine = make_machine(provision_s=300.0)
    book.open(machine)
    book.begin(machine.key, "a")
    first = book.end(machine.key, "a", used_s=100.0, ended_at=9e9)
    book.begin(machine.key, "b")
    second = book.end(machine.key, "b", used_s=50.0, ended_at=9e9)
    assert first is not None
    assert second is not None
    assert first[0].from_s == 0.0
    assert first[0].to_s >= 400.0
    assert second[0].from_s >= first[0].to_s
    assert second[0].to_s == pytest.approx(second[0].from_s + 50.0)
    assert book.close(machine.key).metered_s == pytest.approx(second[0].to_s, abs=60)


def test_a_machine_that_is_not_ready_starts_nothing(tmp_path: Path) -> None:
    slow = MachineBook(directory=tmp_path / "slow")
    machine = make_machine(provision_s=600.0)
    assert slow.open(machine).phase is MachinePhase.COMING
    with pytest.raises(StartFailed, match="not ready"):
        slow.begin(machine.key, "a")


def test_a_machine_that_is_taken_while_it_idles_is_gone_at_that_second(book: MachineBook) -> None:
    machine = make_machine()
    book.open(machine, taken_s=0.0)
    assert book.live() == []
    assert book.close(machine.key).metered_s == 0.0


def test_a_use_that_ends_with_its_machine_says_so(book: MachineBook) -> None:
    machine = make_machine()
    book.open(machine, taken_s=500_000.0)
    from_s = book.begin(machine.key, "a").metered_s
    ended = book.end(machine.key, "a", used_s=500_000.0 - from_s, ended_at=9e9)
    assert ended is not None
    assert ended[1]
    assert book.close(machine.key).metered_s == pytest.approx(500_000.0)


def test_a_quota_binds_what_is_rented_at_once(book: MachineBook) -> None:
    first, second = make_machine(), make_machine()
    book.open(first, quota_gpus=1)
    book.open(first, quota_gpus=1)
    with pytest.raises(StartFailed, match="quota of 1 GPUs"):
        book.open(second, quota_gpus=1)
    book.close(first.key)
    book.open(second, quota_gpus=1)


def test_a_machine_whose_opening_was_cut_short_is_opened_by_the_next_who_asks(book: MachineBook) -> None:
    machine = make_machine()
    book.directory.mkdir()
    book._mark(machine.key)  # and then its process was killed
    opened: list[MachineReport] = []
    asking = Thread(target=lambda: opened.append(book.open(machine, quota_gpus=1)), daemon=True)
    asking.start()
    asking.join(20)
    assert [report.phase for report in opened] == [MachinePhase.READY]
    assert [report.key for report in book.live()] == [machine.key]


def test_attempts_that_share_a_machine_are_metered_each_for_itself(tmp_path: Path) -> None:
    moments = count(start=1e9)  # a second of ours, eleven days of theirs, passes between any two looks at the clock
    book = MachineBook(directory=tmp_path / "machines", time_scale=1e-6, clock=lambda: float(next(moments)))
    machine = make_machine()
    book.open(machine)
    begun = book.begin(machine.key, "a", shares=True).metered_s
    # no more of the machine's time can have passed than the first can use of it
    second = book.begin(machine.key, "b", shares=True, most_s={"a": 300.0}.__getitem__)
    assert second.metered_s == book.began_s(machine.key, "b") == pytest.approx(begun + 300.0)
    assert book.begin(machine.key, "b", shares=True) == second
    assert set(book.running(machine.key) or ()) == {"a", "b"}
    with pytest.raises(StartFailed, match="busy"):
        book.begin(machine.key, "c")
    first = book.end(machine.key, "a", used_s=250.0, ended_at=9e9)
    other = book.end(machine.key, "b", used_s=100.0, ended_at=9e9)
    assert first is not None
    assert other is not None
    assert (first[0].to_s, other[0].from_s, other[0].to_s) == pytest.approx((begun + 250, begun + 300, begun + 400))
    assert book.running(machine.key) == []
    assert book.close(machine.key).metered_s == pytest.approx(begun + 400.0, abs=60)


def test_a_machine_that_is_not_shared_is_not_joined_by_one_that_shares(book: MachineBook) -> None:
    machine = make_machine()
    book.open(machine)
    book.begin(machine.key, "a")
    with pytest.raises(StartFailed, match="busy"):
        book.begin(machine.key, "b", shares=True)


def test_a_shared_machine_that_is_closed_ends_every_use(book: MachineBook) -> None:
    machine = make_machine()
    book.open(machine)
    for attempt in ("a", "b"):
        book.begin(machine.key, attempt, shares=True)
    assert book.close(machine.key, used_s={"a": 70.0, "b": 50.0}).metered_s == pytest.approx(70.0, abs=5)
    ended = book.end(machine.key, "b", used_s=999.0, ended_at=9e9)
    assert ended is not None
    assert ended[0].to_s <= 75.0


@pytest.mark.parametrize("left", [b"", b'{"key": "pyth', b"\0" * 64, b"[]"], ids=["empty", "half", "zeroes", "a list"])
def test_a_machine_whose_entry_a_power_cut_has_left_unreadable_is_there_until_it_is_given_back(
    book: MachineBook, left: bytes
) -> None:
    broken, whole = make_machine(), make_machine()
    for machine in (broken, whole):
        book.open(machine)
        book.begin(machine.key, "a")
    (book.directory / broken.key / "machine.json").write_bytes(left)
    assert {report.key for report in book.live()} == {broken.key, whole.key}
    assert [entry.key for entry in book.entries() if not entry.unreadable] == [whole.key]
    # nothing begins on it, nobody makes up a meter for it, and it is not opened anew
    with pytest.raises(StartFailed, match="gone"):
        book.begin(broken.key, "b")
    assert book.end(broken.key, "a", used_s=10.0, ended_at=0.0) is None
    assert book.running(broken.key) is None
    gone = MachineReport(key=broken.key, phase=MachinePhase.GONE, metered_s=None)
    assert [book.open(broken), book.close(broken.key), book.close(broken.key)] == [gone] * 3
    assert [report.key for report in book.live()] == [whole.key]
