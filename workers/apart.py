"""Keep what goes wrong with one thing from what is done for all the others."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from celery.exceptions import SoftTimeLimitExceeded

log = structlog.get_logger(__name__)


@contextmanager
def apart(event: str, **ids: str) -> Iterator[None]:
    """Tell what fails in here, and go on after it; a task whose time is up ends all the same."""
    try:
        yield
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        log.error(event, **ids, error=in_short(error))


def in_short(error: Exception) -> str:
    """An error that nobody foresaw, and where it was raised: it may come again with every look, so in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}: {error}"[:300]
