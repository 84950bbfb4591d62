"""Write small JSON files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any


def write_json(path: Path, body: dict[str, Any], *, durable: bool) -> None:
    """Replace a JSON file atomically; `durable` waits until it would survive a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(body))  # at once: `dump` goes through it in Python, piece by piece
        if durable:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)
    if durable:
        # the rename itself lives in the directory
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file that `write_json` wrote; None where there is none."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(body, dict):
        raise ValueError(f"{path} holds no JSON object")
    return body
