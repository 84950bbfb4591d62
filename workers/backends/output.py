"""Read what a command printed from the segments its supervisor keeps (see `workers.supervision.output`)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from scheduler.domain.attempt import LogChunk
from workers.supervision.output import HEAD_SEGMENTS, segment_bytes

PIECE_BYTES = 64 * 1024
"""At most in one chunk: whoever reads slowly is sent few at a time, and a search reads no more than it must."""


def read_output(folder: Path, stream: str, since: int, *, cap_bytes: int, ended: bool) -> list[LogChunk]:
    """What a stream holds from a byte offset on; each chunk begins where the one before it ended.

    While the command runs only the beginning is given, since what comes later may yet be cut; once it
    has ended the kept rest follows. So a reader who comes back often stores no more than the cap either.
    """
    size = segment_bytes(cap_bytes)
    chunks: list[LogChunk] = []
    start, data = since, b""
    for number in _segments(folder, stream):
        first = number * size
        if first + size <= since:
            continue
        if number >= HEAD_SEGMENTS and not ended:
            break
        if first > start + len(data):
            chunks += _chunk(stream, start, data)
            start += len(data)
            chunks.append(cut_notice(stream, start, first - start))
            start, data = first, b""
        with contextlib.suppress(FileNotFoundError):  # dropped since it was listed
            data += _read(folder / f"{stream}.{number}", max(0, since - first))
    return chunks + _chunk(stream, start, data if ended else _whole_characters(data))


def _segments(folder: Path, stream: str) -> list[int]:
    names = (path.name.removeprefix(f"{stream}.") for path in folder.glob(f"{stream}.*"))
    return sorted(int(name) for name in names if name.isdigit())


def _read(path: Path, skip: int) -> bytes:
    with path.open("rb") as file:
        file.seek(skip)
        return file.read()


def _chunk(stream: str, offset: int, data: bytes) -> list[LogChunk]:
    chunks: list[LogChunk] = []
    while data:
        piece = _piece(data)
        text = piece.decode("utf-8", errors="replace")
        chunks.append(LogChunk(stream=stream, offset=offset, size=len(piece), text=text))
        offset, data = offset + len(piece), data[len(piece) :]
    return chunks


def _piece(data: bytes) -> bytes:
    """The beginning of much data: whole lines, or whole characters of a line that is longer than a piece."""
    if len(data) <= PIECE_BYTES:
        return data
    piece = data[:PIECE_BYTES]
    lines = piece.rfind(b"\n") + 1
    return piece[:lines] if lines else _whole_characters(piece)


def cut_notice(stream: str, offset: int, cut: int) -> LogChunk:
    """Stands for dropped bytes and says how many they were."""
    return LogChunk(stream=stream, offset=offset, size=cut, text=f"\n[{cut:,} bytes were cut here]\n")


def _whole_characters(data: bytes) -> bytes:
    """Leave a character that is only half written to the next piece."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0b1100_0000:  # the first byte of a longer character says how long it is
            length = 4 if byte >= 0b1111_0000 else 3 if byte >= 0b1110_0000 else 2
            return data if back >= length else data[:-back]
        if byte < 0b1000_0000:
            break
    return data
