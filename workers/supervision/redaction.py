"""Keep the values of secrets out of what a command printed, however its output is cut into pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = b"[secret]"
SHORTEST_BYTES = 4
"""A shorter value stands in any output by chance: hiding it would spoil the log and hide nothing."""
_GLANCE = 8


class Redactor:
    """One stream. The end of what came is held back only while it may be the beginning of a value."""

    def __init__(self, values: Iterable[str]) -> None:
        """Values of several lines (a private key, say) are hidden line by line as well."""
        hidden = {
            part.encode(errors="surrogatepass")
            for value in values
            for part in (value, *(line.strip() for line in value.splitlines()))
        }
        # the longest first: of two that begin alike, the whole one is hidden
        self._hidden = sorted((one for one in hidden if len(one) >= SHORTEST_BYTES), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._hidden))) if self._hidden else None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be written now of what came so far."""
        if self._pattern is None:
            return data
        buffer = self._held + data
        spans, hold = self.look(buffer)
        self._held = buffer[hold:]
        return masked(buffer, 0, hold, spans)

    def look(self, buffer: bytes) -> tuple[list[tuple[int, int]], int]:
        """Where values lie in what came, and how much of it may be shown before more comes."""
        spans: list[tuple[int, int]] = []
        position = 0
        while self._pattern is not None:
            hold = self._begins(buffer, position)
            found = self._pattern.search(buffer, position)
            if found is None or found.start() >= hold:
                return spans, hold
            spans.append(found.span())
            position = found.end()
        return spans, len(buffer)

    def find(self, whole: bytes) -> list[tuple[int, int]]:
        """Where values lie in something to which no more comes."""
        return [] if self._pattern is None else [found.span() for found in self._pattern.finditer(whole)]

    def flush(self) -> bytes:
        """The rest, once nothing more comes."""
        rest, self._held = self._held, b""
        return rest if self._pattern is None else self._pattern.sub(MASK, rest)

    def _begins(self, buffer: bytes, position: int) -> int:
        """Where at the end of a buffer a value may have begun that is not yet whole; its length if nowhere."""
        first = len(buffer)
        for value in self._hidden:
            at = max(position, len(buffer) - len(value) + 1)
            while (at := buffer.find(value[:1], at, first)) >= 0:
                if buffer.startswith(value[: min(_GLANCE, len(buffer) - at)], at) and value.startswith(buffer[at:]):
                    first = at
                    break
                at += 1
        return first


def masked(data: bytes, start: int, stop: int, spans: Iterable[tuple[int, int]]) -> bytes:
    """A part of something in which values lie; of a value that is cut by its ends, nothing is shown in either part."""
    shown: list[bytes] = []
    position = start
    for begins, ends in spans:
        if begins < stop and ends > position:
            shown += (data[position : max(position, begins)], MASK)
            position = ends
    shown.append(data[position : max(position, stop)])
    return b"".join(shown)
