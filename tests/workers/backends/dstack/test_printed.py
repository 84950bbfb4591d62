"""Output comes in pieces with times and is kept by bytes: whoever reads, and however often, comes to the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.attempt import LogChunk
from tests.support.fake_dstack import FakeDstack, log_event
from tests.support.fake_dstack_server import FakeServer, logs_page
from tests.workers.backends.dstack.conftest import settings_of
from tests.workers.backends.dstack.works import make_cloud_work
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.printed import Printed
from workers.backends.dstack.said import Logs
from workers.backends.dstack.task import run_name

BEGAN = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Output:
    """What a command printed, as a server keeps it; a page holds few pieces."""

    def __init__(self, page: int = 3) -> None:
        self.stored: list[dict[str, Any]] = []
        self.page = page
        self.pages = 0

    def prints(self, text: str, milliseconds: int) -> None:
        self.stored.append(log_event(text.encode(), BEGAN + timedelta(milliseconds=milliseconds)))

    def ask(self, **asked: Any) -> Logs:
        self.pages += 1
        return Logs.model_validate(logs_page(self.stored, {"limit": self.page, **asked}))


def text_of(chunks: list[LogChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_pieces_of_one_moment_are_read_once_each() -> None:
    output, printed = Output(), Printed(1000)
    for word in ("a", "b", "c", "d"):
        output.prints(word, 5)
    first = printed.collect("x", output.ask, 0, ended=False)
    output.prints("e", 5)
    output.prints("f", 6)
    then = printed.collect("x", output.ask, 4, ended=True)
    assert (text_of(first), text_of(then)) == ("abcd", "ef")
    assert then[0].offset == 4


def test_what_was_read_and_not_kept_is_read_again() -> None:
    output, printed = Output(), Printed(1000)
    output.prints("a", 5)
    output.prints("b", 6)
    for _ in range(2):  # the worker died between reading and keeping, or its lease had gone to another
        assert text_of(printed.collect("x", output.ask, 0, ended=False)) == "ab"


def test_what_was_read_is_not_asked_for_again() -> None:
    output, printed = Output(page=1), Printed(1000)
    for number in range(20):
        output.prints(f"{number}\n", number * 10)
    size = sum(chunk.size for chunk in printed.collect("x", output.ask, 0, ended=False))
    output.pages = 0
    output.prints("last\n", 1000)
    assert text_of(printed.collect("x", output.ask, size, ended=False)) == "last\n"
    assert output.pages <= 2


def test_asking_whether_there_is_more_does_not_read_all_again() -> None:
    """As a look at many attempts does, and then the look at each that has printed."""
    output, printed = Output(page=1), Printed(10_000)
    size = 0
    for number in range(20):
        output.prints(f"{number}\n", number * 10)
        output.pages = 0
        asked = printed.collect("x", output.ask, size, ended=False)
        kept = printed.collect("x", output.ask, size, ended=False)
        assert asked == kept
        assert text_of(kept) == f"{number}\n"
        assert output.pages <= 4, "from where the last reader began"
        size += sum(chunk.size for chunk in kept)
        assert printed.collect("x", output.ask, size, ended=False) == [], "one that has printed nothing"


def test_the_middle_of_much_is_cut_and_said_to_be() -> None:
    output, printed = Output(), Printed(20)
    for number in range(10):
        output.prints(f"line{number}\n", number)
    chunks = printed.collect("x", output.ask, 0, ended=True)
    assert text_of(chunks) == "line0\nline\n[40 bytes were cut here]\nne8\nline9\n"
    assert [(chunk.offset, chunk.size) for chunk in chunks] == [(0, 10), (10, 40), (50, 10)]


PIECES = st.lists(st.tuples(st.text(max_size=6), st.integers(0, 3)), max_size=25)


@given(PIECES, st.lists(st.tuples(st.integers(0, 25), st.booleans(), st.booleans()), max_size=6), st.integers(10, 80))
def test_it_does_not_matter_who_reads_and_when(
    pieces: list[tuple[str, int]], looks: list[tuple[int, bool, bool]], cap: int
) -> None:
    """Pieces appear one by one, some at the same moment; looks come in between, some of them of a worker that knows
    nothing, some that only ask first. What is kept is the same as where one reader comes at the end."""
    output, moment = Output(), 0
    printed, kept, size = Printed(cap), "", 0
    due = sorted(looks)
    for number, (text, later) in enumerate(pieces):
        moment += later
        output.prints(text, moment)
        while due and due[0][0] <= number:
            _, knows_nothing, asks_first = due.pop(0)
            if knows_nothing:
                printed = Printed(cap)
            if asks_first:
                printed.collect("x", output.ask, size, ended=False)
            chunks = printed.collect("x", output.ask, size, ended=False)
            kept, size = kept + text_of(chunks), size + sum(chunk.size for chunk in chunks)
            assert size <= cap // 2
    kept += text_of(printed.collect("x", output.ask, size, ended=True))
    alone = text_of(Printed(cap).collect("x", output.ask, 0, ended=True))
    if "�" not in kept + alone:  # where a reader stops within a character, both halves are marked
        assert kept == alone


def test_a_run_says_what_it_printed_to_any_worker(live: Dstack, cloud: FakeDstack, fake: FakeServer) -> None:
    work = make_cloud_work()
    handle, run = live.start(work), run_name(work.attempt_id)
    assert live.collect(handle, {}, ended=False) == []
    cloud.running(run)
    cloud.prints(run, b"half ", b"a line\n")
    live.poll(handle)
    (chunk,) = live.collect(handle, {}, ended=False)
    cloud.prints(run, b"done\n")
    cloud.ends(run, 0)
    other = Dstack(settings=settings_of(fake), clock=cloud.now)
    (rest,) = other.collect(handle, {"stdout": chunk.size}, ended=True)
    assert (chunk.text, rest.text, rest.offset) == ("half a line\n", "done\n", 12)
