"""Read what a container printed from where the last reader stopped, without keeping anything that must not be lost.

The API server hands output out by time, not by position: `sinceTime` counts whole seconds, and what the caller knows
is how many bytes it has. So an attempt's output is one stream, `stdout` (the kubelet keeps both together), of which a
position is the number of bytes of whole lines before it. Whoever reads it anew counts from the beginning; whoever has
read it lately remembers the time of the last line and how many lines of that time there were, asks from that second on
and leaves out what it knows. Both come to the same bytes, so it does not matter which worker looks. What was read is
often wanted once more, since a look at many attempts only asks whether there was anything: so where a reading begins is
remembered as well as where it ends.

A node keeps a part only of what is printed (10 MiB unless it is set up otherwise) and begins a new file above that;
what was in the old one is gone. While a job runs the first half of what we keep is read, which comes long before that;
at the end the last half, with a notice of what lies between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from scheduler.domain.attempt import LogChunk
from workers.backends.output import cut_notice
from workers.backends.places import Place, Places
from workers.supervision.redaction import Redactor, masked

STREAM = "stdout"
_READ_BYTES = 1024 * 1024
"""Of one answer at first; more where that does not hold as much as a line beyond what is known."""

_SECOND = 1_000_000_000
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")

Ask = Callable[..., bytes]
"""The log of one pod, by the server's options."""
Hide = Callable[[], Redactor | None]
"""What keeps an attempt's secrets out of it, asked for once there is something to show; None where nobody knows any
more what they were."""


def nothing_hidden() -> Redactor:
    """Of an attempt without secrets."""
    return Redactor(())


@dataclass(frozen=True, slots=True)
class Printed:
    """The output of many attempts as one worker process reads it."""

    cap_bytes: int
    _places: Places[int] = field(default_factory=Places)
    """From the last line end before what was read last to the last one in it; times in nanoseconds of Unix time."""

    def collect(
        self, attempt: str, ask: Ask, since: int, *, ended: bool, hide: Hide = nothing_hidden
    ) -> list[LogChunk]:
        """What an attempt printed beyond a position."""
        head = self.cap_bytes // 2
        if not ended and since >= head:
            return []
        known = self._places.before(attempt, since)
        limit = None if ended else head - since + _READ_BYTES
        begin, end, fresh = _read(ask, known, since, limit=limit, ended=ended)
        if ended and end.offset < since:
            return _newer_file(ask, since, self.cap_bytes - head, hide)
        self._places.remember(attempt, begin, end)
        if not fresh:
            return []
        redactor = hide()
        if redactor is None:
            return _withheld(since, len(fresh))
        if not ended:
            return _so_far(since, fresh, head - since, redactor)
        return _at_end(_Seen(since, fresh, redactor.find(fresh)), head, self.cap_bytes)

    def forget(self, attempt: str) -> None:
        """No more is wanted of it."""
        self._places.forget(attempt)


def _read(
    ask: Ask, place: Place[int], since: int, *, limit: int | None, ended: bool
) -> tuple[Place[int], Place[int], bytes]:
    """Whole lines from a position on, between the last line end before it and theirs; at the end of it all, a last half
    line as well."""
    size = limit
    while True:
        raw = ask(**_options(place, size))
        cut = size is not None and len(raw) >= size
        before, after, fresh = _beyond(place, raw, since, ended=ended and not cut)
        if after != place or not cut or size is None:
            return before, after, fresh
        size *= 4  # all that fitted into the answer was known


def _options(place: Place[int], limit: int | None) -> dict[str, str]:
    options = {"timestamps": "true"}
    if place.instant is not None:
        second = datetime.fromtimestamp(place.instant // _SECOND, UTC)
        options["sinceTime"] = second.isoformat().replace("+00:00", "Z")
    if limit is not None:
        options["limitBytes"] = str(limit)
    return options


def _beyond(place: Place[int], raw: bytes, since: int, *, ended: bool) -> tuple[Place[int], Place[int], bytes]:
    """The bytes of an answer that lie beyond a position, with the last line end before them and the one after them."""
    known, before, here = place.pieces, place, place
    parts: list[bytes] = []
    for line in _lines(raw):
        if not line.endswith(b"\n") and not ended:
            break  # it is still being written, or the answer was cut in it
        stamp, _, text = line.partition(b" ")
        instant = _instant(stamp) or here.instant
        if instant is not None and place.instant is not None and instant < place.instant:
            continue
        if instant == place.instant and known > 0:
            known -= 1
            continue
        skip = since - here.offset
        here = here.after(instant, len(text))
        if skip < len(text):
            parts.append(text[max(0, skip) :])
        else:
            before = here
    return before, here, b"".join(parts)


def _lines(raw: bytes) -> Iterator[bytes]:
    """Lines end with a line feed and with nothing else: a progress bar's carriage returns are part of them."""
    start = 0
    while start < len(raw):
        end = raw.find(b"\n", start)
        stop = len(raw) if end < 0 else end + 1
        yield raw[start:stop]
        start = stop


def _instant(stamp: bytes) -> int | None:
    """A time as a node writes it, in its own time zone, to the nanosecond."""
    found = _STAMP.fullmatch(stamp)
    if found is None:
        return None
    seconds, fraction, zone = (part.decode() for part in found.groups(b""))
    try:
        return int(datetime.fromisoformat(seconds + zone).timestamp()) * _SECOND + int(fraction.ljust(9, "0"))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A piece of output with what is to be hidden in it."""

    offset: int
    data: bytes
    spans: list[tuple[int, int]]

    def chunks(self, start: int, stop: int) -> list[LogChunk]:
        """A part of it; positions are those of the bytes that were printed, whatever is shown of them."""
        if start >= stop:
            return []
        text = masked(self.data, start, stop, self.spans).decode("utf-8", errors="replace")
        return [LogChunk(stream=STREAM, offset=self.offset + start, size=stop - start, text=text)]


def _so_far(since: int, fresh: bytes, room: int, redactor: Redactor) -> list[LogChunk]:
    """Whole lines, as many as there is room for, up to where a secret may have begun: more than that is left to the
    end, when it is known what is last."""
    spans, hold = redactor.look(fresh)
    stop = min(hold, len(fresh) if len(fresh) <= room else fresh.rfind(b"\n", 0, room) + 1)
    stop = next((begins for begins, ends in spans if begins < stop < ends), stop)
    return _Seen(since, fresh, spans).chunks(0, stop)


def _at_end(seen: _Seen, head: int, cap: int) -> list[LogChunk]:
    """The rest of the first half, and of what comes after it the last; each keeps its position."""
    size = len(seen.data)
    start = min(size, max(0, head - seen.offset))
    chunks = seen.chunks(0, start)
    if (cut := size - start - (cap - head)) > 0:
        chunks.append(cut_notice(STREAM, seen.offset + start, cut))
        start += cut
    return chunks + seen.chunks(start, size)


def _newer_file(ask: Ask, since: int, most: int, hide: Hide) -> list[LogChunk]:
    """The node has less than what is known: it has begun a new file, which lies beyond what is known."""
    *_, data = _read(ask, Place(), 0, limit=None, ended=True)
    if not data:
        return []
    redactor, size = hide(), min(most, len(data))
    if redactor is None:
        return _withheld(since, size)
    kept = masked(data, len(data) - size, len(data), redactor.find(data))
    notice = "\n[what was printed between here and the node's last file is gone]\n"
    return [LogChunk(stream=STREAM, offset=since, size=size, text=notice + kept.decode("utf-8", errors="replace"))]


def _withheld(since: int, size: int) -> list[LogChunk]:
    """Something that may hold secrets, and nobody can tell which bytes they are."""
    notice = f"\n[{size:,} bytes are not kept: the Secret that says what to hide in them is gone]\n"
    return [LogChunk(stream=STREAM, offset=since, size=size, text=notice)]
