"""Output is read once and whole, by whichever worker comes, although the cluster counts in seconds only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.attempt import LogChunk
from workers.backends.kubernetes.printed import Hide, Printed, nothing_hidden
from workers.supervision.redaction import Redactor

START = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class Node:
    """A container's log as a node keeps it."""

    def __init__(self, zone: timezone = UTC) -> None:
        self.lines: list[tuple[datetime, bytes]] = []
        self.zone = zone
        self.given = 0

    def prints(self, text: bytes, at_ms: int) -> None:
        self.lines.append((START + timedelta(milliseconds=at_ms), text))

    def begins_a_new_file(self) -> None:
        self.lines.clear()

    def ask(self, **options: str) -> bytes:
        assert options["timestamps"] == "true"
        since = datetime.fromisoformat(options.get("sinceTime", "2000-01-01T00:00:00Z"))
        raw = b"".join(
            at.astimezone(self.zone).isoformat(timespec="microseconds").replace("+00:00", "Z").encode() + b" " + text
            for at, text in self.lines
            if at >= since
        )
        raw = raw[: int(options.get("limitBytes", len(raw)))]
        self.given += len(raw)
        return raw

    @property
    def whole(self) -> bytes:
        return b"".join(text for _, text in self.lines)


class Reader:
    """What is kept of what several worker processes read in turn."""

    def __init__(self, node: Node, *, cap: int = 10_000_000, workers: int = 1) -> None:
        self.node, self.since, self.text = node, 0, ""
        self.workers = [Printed(cap) for _ in range(workers)]
        self.hide: Hide = nothing_hidden

    def reads(self, worker: int = 0, *, ended: bool = False, kept: bool = True) -> list[LogChunk]:
        chunks = self.workers[worker].collect("a", self.node.ask, self.since, ended=ended, hide=self.hide)
        for chunk in chunks if kept else []:
            assert chunk.offset == self.since, "pieces lie against each other"
            self.since += chunk.size
            self.text += chunk.text
        return chunks


LINES = st.lists(
    st.tuples(st.integers(0, 2500), st.sampled_from([b"a\n", b"bb\r\n", b"50%\r60%\n", "é\u2028\n".encode()]))
)
LOOKS = st.lists(st.tuples(LINES, st.integers(0, 2), st.booleans()), max_size=8)


@settings(max_examples=200, deadline=None)
@given(LOOKS, st.sampled_from([UTC, timezone(timedelta(hours=-7))]))
def test_whoever_reads_nothing_is_lost_and_nothing_comes_twice(
    looks: list[tuple[list[tuple[int, bytes]], int, bool]], zone: timezone
) -> None:
    node = Node(zone)
    reader = Reader(node, workers=3)
    now_ms = 0
    for lines, worker, kept in looks:
        for later_ms, text in lines:
            now_ms += later_ms % 700
            node.prints(text, now_ms)
        reader.reads(worker, kept=kept)  # what was read and could not be stored is read again
    reader.reads(0, ended=True)
    assert reader.text.encode() == node.whole


def test_a_line_is_given_when_it_is_whole_and_at_the_end_in_any_case() -> None:
    node = Node()
    node.prints(b"done\n", 0)
    node.prints(b"half", 10)
    reader = Reader(node)
    reader.reads()
    assert reader.text == "done\n"
    reader.reads(ended=True)
    assert reader.text == "done\nhalf"


def test_a_later_look_asks_for_little() -> None:
    node = Node()
    for number in range(1000):
        node.prints(b"x" * 99 + b"\n", number * 1000)
    reader = Reader(node)
    reader.reads()
    first, node.given = node.given, 0
    node.prints(b"new\n", 1_000_000)
    reader.reads()
    assert reader.text.endswith("new\n")
    assert node.given < first / 100


def looks(reader: Reader) -> None:
    """As a worker does: whoever looks at many asks whether anything is new, and the look at one then collects it."""
    if reader.reads(kept=False):
        reader.reads()


def test_what_was_read_is_not_asked_for_again() -> None:
    node = Node()
    reader = Reader(node)
    for number in range(1000):
        node.prints(b"x" * 99 + b"\n", number * 1000)
    reader.reads()
    whole, node.given = node.given, 0
    for number in range(1000, 1003):
        node.prints(b"new\n", number * 1000)
        looks(reader)
    assert reader.text.endswith("x\nnew\nnew\nnew\n")
    assert node.given < whole / 100


def test_a_worker_that_comes_anew_passes_what_others_have_read_once() -> None:
    node = Node()
    reader = Reader(node, workers=2)
    for number in range(1000):
        node.prints(b"x" * 99 + b"\n", number * 1000)
    reader.reads(0)
    node.prints(b"new\n", 1_000_000)
    node.given = 0
    assert reader.reads(1, kept=False)
    whole, node.given = node.given, 0
    reader.reads(1)
    assert reader.text.endswith("x\nnew\n")
    assert node.given < whole / 100


def test_what_is_held_back_does_not_bring_back_what_lies_before_it() -> None:
    node = Node()
    reader = Reader(node)
    reader.hide = lambda: Redactor(["ab\ncdefgh"])
    for number in range(1000):
        node.prints(b"x" * 99 + b"\n", number * 1000)
    reader.reads()
    whole, node.given = node.given, 0
    node.prints(b"see: ab\n", 1_000_000)
    looks(reader)
    looks(reader)
    node.prints(b"cdefgh\n", 1_001_000)
    looks(reader)
    assert reader.text.endswith("x\nsee: [secret]\n")
    assert node.given < whole / 100


def test_a_second_in_which_more_is_printed_than_one_answer_holds_is_passed() -> None:
    node = Node()
    reader = Reader(node)
    for _ in range(40):
        node.prints(b"y" * 99_999 + b"\n", 0)
    for _ in range(12):
        reader.reads()
    assert reader.since == 4_000_000
    assert reader.text.encode() == node.whole


def test_while_it_runs_the_first_half_of_what_is_kept_is_read_and_at_the_end_the_last() -> None:
    node = Node()
    reader = Reader(node, cap=1000)
    for number in range(100):
        node.prints(b"%03d %s\n" % (number, b"." * 35), number)
    reader.reads()
    assert reader.since == 480, "whole lines up to 500 bytes"
    node.given = 0
    assert reader.reads() == []
    reader.reads(ended=True)
    assert reader.text.count("bytes were cut here") == 1
    assert reader.text.endswith(node.whole[-500:].decode())
    assert reader.since == len(node.whole)


def test_a_full_first_half_is_not_asked_for_again() -> None:
    node = Node()
    reader = Reader(node, cap=200)
    node.prints(b"z" * 99 + b"\n", 0)
    reader.reads()
    node.given = 0
    node.prints(b"z" * 99 + b"\n", 5)
    assert reader.reads() == []
    assert node.given == 0


def test_a_worker_that_finds_a_newer_file_than_it_knows_gives_its_end() -> None:
    node = Node()
    reader = Reader(node, workers=2)
    node.prints(b"old and long enough to be more than what is new\n", 0)
    reader.reads(0)
    node.begins_a_new_file()
    node.prints(b"new\n", 60_000)
    reader.reads(1, ended=True)
    assert reader.text.startswith("old and long")
    assert "the node's last file is gone" in reader.text
    assert reader.text.endswith("new\n")


def test_a_worker_that_knows_where_it_was_goes_on_in_the_newer_file() -> None:
    node = Node()
    reader = Reader(node)
    node.prints(b"old and long enough to be more than what is new\n", 0)
    reader.reads()
    node.begins_a_new_file()
    node.prints(b"new\n", 60_000)
    reader.reads(ended=True)
    assert reader.text.endswith("is new\nnew\n")


def test_no_log_is_no_output() -> None:
    assert Printed(1000).collect("a", lambda **_: b"", 0, ended=True) == []


SECRETS = ["hunter22", "first\nsecond\nthird", "-abc"]
PIECES = [b"hunter22", b"hunt", b"first\n", b"second\n", b"third", b"-", b"abc", b"\n", b"plain "]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.sampled_from(PIECES), max_size=6), st.integers(0, 2)), max_size=8),
    st.sampled_from([10_000_000, 40, 17]),
)
def test_no_secret_is_shown_however_output_is_cut(looks: list[tuple[list[bytes], int]], cap: int) -> None:
    node = Node()
    reader = Reader(node, cap=cap, workers=3)
    reader.hide = lambda: Redactor(SECRETS)
    half = b""
    for number, (pieces, worker) in enumerate(looks):
        *lines, half = (half + b"".join(pieces)).split(b"\n")
        for line in lines:
            node.prints(line + b"\n", number * 400)
        reader.reads(worker)
    if half:
        node.prints(half, 10_000)
    reader.reads(ended=True)
    assert reader.since == len(node.whole)
    for word in ("hunter22", "first", "second", "third", "-abc"):
        assert word not in reader.text
    if cap > 1000:
        redactor = Redactor(SECRETS)
        assert reader.text == (redactor.feed(node.whole) + redactor.flush()).decode(), "and nothing else is hidden"


def test_a_value_of_several_lines_is_held_back_until_it_is_whole() -> None:
    node = Node()
    reader = Reader(node)
    reader.hide = lambda: Redactor(["ab\ncdefgh"])
    node.prints(b"see: ab\n", 0)
    reader.reads()
    assert reader.text == "see: "
    node.prints(b"cdefgh\n", 100)
    reader.reads()
    assert reader.text == "see: [secret]\n"


def test_no_room_is_made_in_the_middle_of_a_value() -> None:
    node = Node()
    reader = Reader(node, cap=20)
    reader.hide = lambda: Redactor(["xy\nlonger"])
    node.prints(b"12345xy\n", 0)
    node.prints(b"longer\n", 1)
    reader.reads()
    assert reader.text == "12345"
    reader.reads(ended=True)
    assert reader.text == "12345[secret][secret]\n", "each half of what is kept has an end of it"
