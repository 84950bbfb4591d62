"""What to bring in and take out, as it stands beside an attempt's order, and what came of it.

`files.json` in the attempt's directory, and no part of `work.json`: workers of an earlier version, which look after the
same attempts, would not know what to make of it. The keys to the store are in neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workers.supervision.files import read_json, write_json
from workers.supervision.order import FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One line of a spec's inputs or outputs."""

    source: str
    to: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesPlan:
    """All of them, with what may not be exceeded in either direction."""

    inputs: tuple[Transfer, ...]
    outputs: tuple[Transfer, ...]
    most_bytes: int

    def write(self, folder: Path) -> None:
        """Put the plan into an attempt's directory."""
        write_json(folder / FILES, asdict(self), durable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The store, and the keys to it. Never on disk, never in a log."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    endpoint_url: str | None = None
    """None: Amazon's own."""
    region: str | None = None

    def __repr__(self) -> str:
        return f"Access({self.endpoint_url or 'AWS'})"


def read_plan(folder: Path) -> FilesPlan | None:
    """The plan in a directory; None where an attempt has no files."""
    body = read_json(folder / FILES)
    return None if body is None else plan_from(body)


def plan_from(body: Mapping[str, Any]) -> FilesPlan:
    """A plan that was written as JSON."""
    lines: dict[str, Any] = {name: tuple(Transfer(**line) for line in body[name]) for name in ("inputs", "outputs")}
    return FilesPlan(most_bytes=body["most_bytes"], **lines)
