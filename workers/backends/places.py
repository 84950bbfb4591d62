"""Where each reader of a run's output stopped, when a server hands it out by time and the reader counts bytes.

Whoever reads anew counts from the beginning; whoever has read lately asks from the time of the last piece on and leaves
out as many of that time as it knows. Both come to the same bytes, so nothing here must not be lost. Where the last
reading began is remembered as well: what was read may not have been kept, and is then wanted once more.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_REMEMBERED = 4096

Instant = TypeVar("Instant")
"""A time as finely as the server tells it."""


@dataclass(frozen=True, slots=True)
class Place(Generic[Instant]):
    """Where a reader stopped."""

    offset: int = 0
    """Bytes before it."""
    instant: Instant | None = None
    """The time of the last piece; None at the beginning."""
    pieces: int = 0
    """How many pieces had exactly that time."""

    def after(self, instant: Instant | None, size: int) -> Place[Instant]:
        """One piece of `size` bytes on."""
        return Place(self.offset + size, instant, self.pieces + 1 if instant == self.instant else 1)


@dataclass(frozen=True, slots=True)
class Places(Generic[Instant]):
    """Of the attempts that were read last, as one worker process knows them."""

    _last: OrderedDict[str, tuple[Place[Instant], Place[Instant]]] = field(default_factory=OrderedDict)
    """Where the last reading of each began, and where it stopped."""

    def before(self, attempt: str, since: int) -> Place[Instant]:
        """The nearest known place that is not beyond a position."""
        began, stopped = self._last.get(attempt, (Place(), Place()))
        return next((one for one in (stopped, began) if one.offset <= since), Place())

    def remember(self, attempt: str, began: Place[Instant], stopped: Place[Instant]) -> None:
        """A reading is done; the attempts that were read longest ago are forgotten for it."""
        self._last[attempt] = began, stopped
        self._last.move_to_end(attempt)
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)

    def forget(self, attempt: str) -> None:
        """No more is wanted of it."""
        self._last.pop(attempt, None)
