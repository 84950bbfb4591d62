"""How durations, memory, money and counts are written for people.

A probability or a memory figure is never rounded in the flattering direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

ABSENT = "-"
"""What a table cell says when there is nothing to say."""


def duration(seconds: float | None) -> str:
    """A length of time with at most two units: 2.4s, 45s, 12m30, 3h10, 5d04h."""
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 90:
        return f"{whole}s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}m{rest:02d}"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60}h{minutes % 60:02d}"
    hours = round(seconds / 3600)
    return f"{hours // 24}d{hours % 24:02d}h"


def span(low: str, high: str) -> str:
    """A range of two already written figures, or one cell of `-` if there is none."""
    return ABSENT if ABSENT in (low, high) else f"{low} .. {high}"


def gib(value: float | None) -> str:
    """GiB to one decimal."""
    return ABSENT if value is None else f"{value:.1f}"


def probability(value: float | None) -> str:
    """Two decimals, rounded down: 0.998 is not certainty."""
    return ABSENT if value is None else f"{math.floor(value * 100 + 1e-9) / 100:.2f}"


def usd(value: str | Decimal | None) -> str:
    """Dollars to the cent, or to four decimals below ten cents so that cheap is not free."""
    if value is None:
        return ABSENT
    amount = Decimal(value)
    return f"{amount:.4f}" if 0 < abs(amount) < Decimal("0.1") else f"{amount:,.2f}"


def count(value: float) -> str:
    """A count of things: 950, 12,000, 1.8M, 3B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}"


def tokens(mean: float) -> str:
    """Whole ones, but for less than ten: the mean of a trace has many digits."""
    return f"{mean:,.0f}" if mean >= 10 else f"{mean:g}"


def days(dates: Iterable[str]) -> str:
    """From the first to the last of some days, or the one that all are."""
    known = sorted(dates)
    return " to ".join(dict.fromkeys((known[0], known[-1])))


def percent(value: float) -> str:
    """A signed percentage with a true minus sign: +110 %, −22 %."""
    return f"{value:+,.0f} %".replace("-", "−")


def moment(text: str | None) -> str:
    """An ISO time as `2026-12-01 06:00 UTC`-like words in its own zone."""
    if not text:
        return ABSENT
    when = datetime.fromisoformat(text)
    zone = "UTC" if when.utcoffset() is not None and not when.utcoffset() else when.strftime("%z")
    return f"{when:%Y-%m-%d %H:%M} {zone}".rstrip()


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Rows as aligned text under their header, two spaces apart; `right` names right-aligned columns."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [line(header), *(line(row) for row in rows)]
