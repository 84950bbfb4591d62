"""Read a trace of requests: when each came, and how many tokens it had.

CSV with a header, or JSON Lines (`.jsonl`), either gzipped (`.gz`): `timestamp` (or `timestamp_s`), `input_tokens`,
`output_tokens`; other columns are ignored. Timestamps are seconds, or ISO 8601 where they have a date. A line that
cannot be true refuses the file and is named.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from predictor.errors import PythiaError
from scheduler.economics.traffic import Traffic, traffic_of

TIMES = ("timestamp", "timestamp_s")
MOST_REQUESTS = 20_000_000
LONGEST_S = 40 * 86_400.0
MOST_TOKENS = 10_000_000.0


class InvalidTraffic(PythiaError):
    """A trace of requests cannot be read, or holds a line that cannot be true."""

    code = "invalid_traffic"


def read_traffic(path: Path) -> Traffic:
    """A whole trace; InvalidTraffic with file and line at the first thing that cannot be true."""
    cells = array("d")
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    read = _of_json if plain.suffix in (".jsonl", ".ndjson") else _of_csv
    at = [0]
    try:
        with _open(path) as stream:
            for line, when, asked, answered in read(path.name, _lines(stream, at)):
                if len(cells) >= 3 * MOST_REQUESTS:
                    raise InvalidTraffic(f"{path.name} line {line}: more than {MOST_REQUESTS:,} requests")
                cells.extend(
                    (
                        _moment(path.name, line, when),
                        _tokens(path.name, line, "input_tokens", asked, 1.0),
                        _tokens(path.name, line, "output_tokens", answered, 0.0),
                    )
                )
    except csv.Error as error:
        raise InvalidTraffic(f"{path.name} line {at[0]}: not readable as CSV ({error})") from None
    except UnicodeDecodeError:
        raise InvalidTraffic(f"{path.name} line {at[0]}: not UTF-8 text") from None
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise InvalidTraffic(f"{path.name} line {at[0] + 1}: damaged gzip ({error})") from None
    except OSError as error:
        raise InvalidTraffic(f"{path} cannot be read: {error.strerror or error}") from None
    if not cells:
        raise InvalidTraffic(f"{path.name} holds no request")
    table = np.frombuffer(cells, dtype=np.float64).reshape(-1, 3)
    span = float(table[:, 0].max() - table[:, 0].min())
    if span > LONGEST_S:
        raise InvalidTraffic(f"{path.name} spans {span / 86_400:,.0f} days; {LONGEST_S / 86_400:.0f} is the most")
    return traffic_of(path.name, table)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _lines(stream: BinaryIO, at: list[int]) -> Iterator[str]:
    """Decoded one by one, so that what cannot be is named by its own line; `at` holds the number of the last."""
    for line, raw in enumerate(stream, start=1):
        at[0] = line
        yield raw.decode("utf-8-sig" if line == 1 else "utf-8")


def _of_csv(file: str, lines: Iterator[str]) -> Iterator[tuple[int, object, object, object]]:
    reader = csv.reader(lines, strict=True)
    header = [name.strip() for name in next(reader, [])]
    times = [name for name in header if name in TIMES]
    if len(times) != 1:
        raise InvalidTraffic(f"{file} line 1: column timestamp is missing or repeated")
    for column in ("input_tokens", "output_tokens"):
        if header.count(column) != 1:
            raise InvalidTraffic(f"{file} line 1: column {column} is missing or repeated")
    when, read, written = (header.index(name) for name in (times[0], "input_tokens", "output_tokens"))
    for cells in reader:
        if len(cells) != len(header):
            raise InvalidTraffic(f"{file} line {reader.line_num}: {len(cells)} values for {len(header)} columns")
        yield reader.line_num, cells[when], cells[read], cells[written]


def _of_json(file: str, lines: Iterator[str]) -> Iterator[tuple[int, object, object, object]]:
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidTraffic(f"{file} line {line}: not JSON") from None
        if not isinstance(row, dict):
            raise InvalidTraffic(f"{file} line {line}: not a JSON object")
        times = [row[name] for name in TIMES if name in row]
        if len(times) != 1:
            raise InvalidTraffic(f"{file} line {line}: timestamp is missing or repeated")
        yield line, times[0], row.get("input_tokens"), row.get("output_tokens")


def _moment(file: str, line: int, raw: object) -> float:
    text = raw.strip() if isinstance(raw, str) else raw
    try:
        value = _number(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) and isinstance(text, str):
        try:
            when = datetime.fromisoformat(text)
            # without a zone, all of a file's times are of the same one
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    if not 0 <= value <= 1e11:
        raise InvalidTraffic(f"{file} line {line}: timestamp is {raw!r:.40}, neither seconds nor an ISO 8601 time")
    return value


def _tokens(file: str, line: int, column: str, raw: object, least: float) -> float:
    try:
        value = _number(raw)
    except ValueError:
        raise InvalidTraffic(f"{file} line {line}: {column} is {raw!r:.40}, not a number") from None
    if not least <= value <= MOST_TOKENS:
        raise InvalidTraffic(f"{file} line {line}: {column} is {raw!r:.40}, must be {least:g} to {MOST_TOKENS:,.0f}")
    return value


def _number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        raise ValueError("not a number")
    try:
        return float(raw)
    except OverflowError:
        return math.inf
