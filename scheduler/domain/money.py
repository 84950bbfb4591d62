"""Money as integer micro-dollars; floats never touch it."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import overload

MICROS_PER_USD = 1_000_000


def usd_to_micros(usd: Decimal | str | int) -> int:
    """Exact dollars to the nearest micro-dollar."""
    return int((Decimal(usd) * MICROS_PER_USD).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def micros_to_usd(micros: int) -> Decimal:
    """Micro-dollars as dollars, exact."""
    return Decimal(micros) / MICROS_PER_USD


def billed_seconds(seconds: float, *, increment_s: int, minimum_s: int) -> int:
    """Seconds a provider bills for a use: rounded up to its increment, at least its minimum.

    A use of zero seconds (a machine that was never started) is not billed.
    """
    if seconds <= 0:
        return 0
    used = max(Decimal(repr(seconds)), Decimal(minimum_s))
    return int((used / increment_s).to_integral_value(rounding=ROUND_CEILING)) * increment_s


def cost_micros(micros_per_gpu_hour: int, gpu_count: int, seconds: int) -> int:
    """Price of whole billed seconds, rounded half-even to a micro-dollar."""
    exact = Decimal(micros_per_gpu_hour) * gpu_count * seconds / 3600
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def format_usd(micros: int) -> str:
    """Dollars for people: cents, or four decimals below ten cents."""
    usd = micros_to_usd(micros)
    return f"{usd:.4f}" if 0 < abs(usd) < Decimal("0.1") else f"{usd:,.2f}"


@overload
def exact_usd(micros: int) -> str: ...


@overload
def exact_usd(micros: int | None) -> str | None: ...


def exact_usd(micros: int | None) -> str | None:
    """Micro-dollars as decimal text, exact and with at least cents."""
    if micros is None:
        return None
    # whole numbers throughout: a decision has five hundred of them
    dollars, fraction = divmod(abs(micros), MICROS_PER_USD)
    cents, rest = divmod(fraction, 10_000)
    return f"{'-' if micros < 0 else ''}{dollars}.{cents:02d}" + f"{rest:04d}".rstrip("0")
