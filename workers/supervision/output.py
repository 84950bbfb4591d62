"""A command's stdout or stderr on disk, capped: the beginning and the end are kept, the middle goes.

A stream is cut into segments `stdout.0`, `stdout.1` … of a quarter of the cap. The first two stay; of the
later ones only the last two do. A reader finds any byte by its offset, live or after a crash, and a
missing segment says by itself what was cut.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Protocol

STREAMS = ("stdout", "stderr")
HEAD_SEGMENTS = 2
"""Segments from the beginning that are never dropped."""
_TAIL_SEGMENTS = 2


def segment_bytes(cap_bytes: int) -> int:
    """Size of a segment under a cap."""
    return max(1, cap_bytes // (HEAD_SEGMENTS + _TAIL_SEGMENTS))


class Writer(Protocol):
    """Takes a stream as it comes."""

    def write(self, data: bytes, /) -> None: ...

    def close(self) -> None: ...


class OutputWriter:
    """Appends to one stream and drops what the cap no longer allows."""

    def __init__(self, folder: Path, stream: str, cap_bytes: int) -> None:
        self._folder, self._stream = folder, stream
        self._size = segment_bytes(cap_bytes)
        self._written = 0
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Append; the data reaches the file before this returns."""
        rest = memoryview(data)
        while rest:
            number, within = divmod(self._written, self._size)
            if within == 0:
                self._next(number)
            assert self._file is not None  # noqa: S101 - the first byte of a segment opened it
            part = rest[: self._size - within]
            self._file.write(part)
            self._written += len(part)
            rest = rest[len(part) :]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self, number: int) -> None:
        self.close()
        # unbuffered: a live reader sees each line, and a killed supervisor has lost none
        self._file = (self._folder / f"{self._stream}.{number}").open("wb", buffering=0)
        dropped = number - _TAIL_SEGMENTS
        if dropped >= HEAD_SEGMENTS:
            (self._folder / f"{self._stream}.{dropped}").unlink(missing_ok=True)
