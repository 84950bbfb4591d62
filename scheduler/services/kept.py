"""A bounded store of things made once: what was used longest ago goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Kept(Generic[Thing]):
    """Threads share it; a lock is held for look-ups alone, never while something is made."""

    def __init__(self, most: int) -> None:
        """`most` is the sum of the weights that are kept."""
        self._most = most
        self._weight = 0
        self._things: OrderedDict[Hashable, tuple[Thing, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Thing | None:
        """What is kept under a key."""
        with self._lock:
            found = self._things.get(key)
            if found is None:
                return None
            self._things.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, thing: Thing, weight: int = 1) -> None:
        """Keep a thing in the place of what was there; the newest is kept whatever it weighs."""
        with self._lock:
            before = self._things.pop(key, None)
            self._things[key] = thing, weight
            self._weight += weight - (0 if before is None else before[1])
            while self._weight > self._most and len(self._things) > 1:
                _, (_, gone) = self._things.popitem(last=False)
                self._weight -= gone

    def drop(self, key: Hashable) -> None:
        """Keep a thing no longer."""
        with self._lock:
            _, weight = self._things.pop(key, (None, 0))
            self._weight -= weight

    def clear(self) -> None:
        """Keep nothing of what there is."""
        with self._lock:
            self._things.clear()
            self._weight = 0

    def __len__(self) -> int:
        return len(self._things)
