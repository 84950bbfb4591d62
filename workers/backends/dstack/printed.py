"""Read what a run printed from where the last reader stopped, without keeping anything that must not be lost.

A dstack server hands output out in pieces with the time of each; what the caller knows is how many bytes it has. So an
attempt's output is one stream, `stdout` (the runner keeps both together), of which a position is the number of bytes
before it. Whoever reads it anew counts from the beginning; whoever has read it lately remembers the time of the last
piece and how many had that time, asks from then on, and leaves out what it knows. Both come to the same bytes. It also
remembers where it began then, for what was read may not have been kept: a look at many attempts only asks whether there
is more, and the look at one of them reads the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scheduler.domain.attempt import LogChunk
from workers.backends.dstack.said import Logs
from workers.backends.output import cut_notice
from workers.backends.places import Place, Places

STREAM = "stdout"
_BEFORE = timedelta(milliseconds=1)
"""The server leaves out the time that is asked for, and some of its stores know only milliseconds."""

Ask = Callable[..., Logs]
"""A page of the output of one run, by the server's options."""


@dataclass(frozen=True, slots=True)
class Printed:
    """The output of many attempts as one worker process reads it."""

    cap_bytes: int
    _places: Places[datetime] = field(default_factory=Places)

    def collect(self, attempt: str, ask: Ask, since: int, *, ended: bool) -> list[LogChunk]:
        """What an attempt printed beyond a position: while it runs of the first half of what is kept; at the end the
        last half of what came after that as well."""
        head = self.cap_bytes // 2
        if not ended and since >= head:
            return []
        began = place = self._places.before(attempt, since)
        first, last, cut = bytearray(), bytearray(), 0
        for after, data in _read(ask, place, since):
            place = after
            room = max(0, head - since - len(first))
            first += data[:room]
            if not ended and len(data) > room:
                break  # what comes next may yet be cut
            last += data[room:]
            too_much = max(0, len(last) - (self.cap_bytes - head))
            del last[:too_much]
            cut += too_much
        self._places.remember(attempt, began, place)
        chunks = _chunk(since, bytes(first))
        if cut:
            chunks.append(cut_notice(STREAM, since + len(first), cut))
        return chunks + _chunk(since + len(first) + cut, bytes(last))

    def forget(self, attempt: str) -> None:
        """No more is wanted of it."""
        self._places.forget(attempt)


def _read(ask: Ask, place: Place[datetime], since: int) -> Iterator[tuple[Place[datetime], bytes]]:
    """The pieces beyond a position, cut where it lies within one, each with the place after it."""
    known, here = place.pieces, place
    asked = {} if place.instant is None else {"start_time": (place.instant - _BEFORE).isoformat()}
    while True:
        page = ask(**asked)
        for piece in page.logs:
            if place.instant is not None and piece.timestamp < place.instant:
                continue
            if piece.timestamp == place.instant and known > 0:
                known -= 1
                continue
            data = piece.message
            skip = max(0, since - here.offset)
            here = here.after(piece.timestamp, len(data))
            if skip < len(data):
                yield here, data[skip:]
        if page.next_token is None or page.next_token == asked.get("next_token"):
            return
        asked["next_token"] = page.next_token


def _chunk(offset: int, data: bytes) -> list[LogChunk]:
    text = data.decode("utf-8", errors="replace")
    return [LogChunk(stream=STREAM, offset=offset, size=len(data), text=text)] if data else []
