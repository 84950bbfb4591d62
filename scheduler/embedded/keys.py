"""The API key of an installation: made at the first start, its hash in the database, a copy for this user alone."""

from __future__ import annotations

import os
from pathlib import Path


def api_key_of(database_url: str, copy: Path) -> tuple[str | None, bool]:
    """The installation's key and whether it is new; None if it was made where we have no copy of it."""
    from scheduler.services.api_keys import ensure_default_key  # noqa: PLC0415
    from scheduler.storage.engine import make_engine  # noqa: PLC0415

    engine = make_engine(database_url, pool_size=1)
    try:
        new = ensure_default_key(engine)
    finally:
        engine.dispose()
    if new is not None:
        write_private(copy, new + "\n")
        return new, True
    return (copy.read_text(encoding="utf-8").strip() if copy.exists() else None), False


def write_private(path: Path, text: str) -> None:
    """Replace a file whole, readable by its owner alone."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    # 0600 from the first byte: a chmod afterwards would leave a moment in which others can read it
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
