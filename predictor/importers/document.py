"""A result file as bytes, text and JSON values with their lines, each made once and only when asked for."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from predictor.importers.csv_rows import csv_header
from predictor.importers.draft import InvalidResults, Rejected
from predictor.importers.values import parse_json, section

MAX_BYTES = 512 * 2**20
"""More than any public result file has; a small gzip file can unfold to anything."""

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Document:
    """One file and how its user maps fields to its columns."""

    path: Path
    data: bytes
    columns: Mapping[str, str]
    """Field of an observation → column of the table."""

    @property
    def stem(self) -> str:
        """The file's name without what comes behind its first dot."""
        return self.path.name.split(".")[0] or "results"

    @cached_property
    def text(self) -> str | None:
        """None where the bytes are no text."""
        try:
            found = self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None
        return None if "\0" in found else found

    @cached_property
    def value(self) -> Mapping[str, object]:
        """The whole file as one JSON object; empty where it is none."""
        return section(self._whole)

    @cached_property
    def objects(self) -> tuple[tuple[int, Mapping[str, object]] | Rejected, ...]:
        """The JSON objects with their lines: the only one, those of an array, or one on each line."""
        if self.text is None or not self.lines:
            return ()
        if isinstance(self._whole, ValueError):
            found = tuple(_object(number, _parsed(line)) for number, line in self.lines)
            one_by_line = any(not isinstance(one, Rejected) for one in found)
            return found if one_by_line else (Rejected(1, f"not JSON: {self._whole}"),)
        if isinstance(self._whole, list):
            return tuple(_object(line, value) for line, value in self._elements)
        return (_object(self.lines[0][0], self._whole),)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The names in the first JSON object."""
        return next((frozenset(one[1]) for one in self.objects if not isinstance(one, Rejected)), frozenset())

    @cached_property
    def lines(self) -> tuple[tuple[int, str], ...]:
        """The lines that are not empty, numbered from 1."""
        return tuple((number, line) for number, line in enumerate((self.text or "").split("\n"), 1) if line.strip())

    @cached_property
    def header(self) -> frozenset[str]:
        """The words of the first line, read as CSV."""
        return csv_header(self.lines[0][1]) if self.lines else frozenset()

    @cached_property
    def _whole(self) -> object:
        return _parsed(self.text or "")

    @property
    def _elements(self) -> Iterator[tuple[int, object]]:
        """The elements of the outermost array, each with the line it begins on."""
        source, decoder = self.text or "", json.JSONDecoder()
        place, line = source.index("[") + 1, 1
        counted = 0
        while True:
            while source[place] in " \t\r\n,":
                place += 1
            if source[place] == "]":
                return
            line += source.count("\n", counted, place)
            counted = place
            value, place = decoder.raw_decode(source, place)
            yield line, value


def _parsed(source: str) -> object:
    """The JSON value, or the error that says why it is none."""
    try:
        return parse_json(source)
    except ValueError as error:
        return error


def _object(line: int, value: object) -> tuple[int, Mapping[str, object]] | Rejected:
    if isinstance(value, Mapping):
        return line, value
    return Rejected(line, f"not JSON: {value}" if isinstance(value, ValueError) else "not a JSON object")


def open_document(path: Path, columns: Mapping[str, str]) -> Document:
    """Read a file, gzipped or not; InvalidResults says why it cannot be."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if data[:2] == _GZIP:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as unfolded:
                data = unfolded.read(MAX_BYTES + 1)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidResults(f"{path} cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise InvalidResults(f"{path} is larger than {MAX_BYTES // 2**20} MiB; split it")
    return Document(path=path, data=data, columns=columns)
