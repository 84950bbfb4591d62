"""The garbage collector of a process that answers requests."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000
"""Made, and not yet gone, before the collector looks: a decision makes some ten thousand, nearly none of them in a
circle."""


def settle() -> None:
    """What is loaded stays for good: the collector shall not look through all of it while somebody waits.

    Without this, one plan in twenty took three times as long as the others.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
