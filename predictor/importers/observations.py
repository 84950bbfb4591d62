"""The form of the observation files itself: JSON objects, one on each line, taken as they are.

What the form leaves open stays open: a layout that is not given is one GPU, an engine may be assumed aloud.
"""

from __future__ import annotations

from collections.abc import Iterator

from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected

_FORM = {"id", "source", "workload", "gpu_type", "outcome", "simulated"}


def recognises(document: Document) -> bool:
    """What every observation has."""
    return document.keys >= _FORM


def read(document: Document) -> Iterator[Item]:
    """One draft per object."""
    for found in document.objects:
        yield found if isinstance(found, Rejected) else Draft(line=found[0], fields=found[1])
