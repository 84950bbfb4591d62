"""A folder for short-lived databases: in memory where there is room, and open to the user PostgreSQL runs as.

Not pytest's tmp_path: root's is closed to everyone else.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 * 2**30


@contextmanager
def scratch_directory(prefix: str) -> Iterator[Path]:
    """A new folder, deleted afterwards."""
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    directory = Path(tempfile.mkdtemp(prefix=f"pythia-{prefix}-", dir=_MEMORY if in_memory else None))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
