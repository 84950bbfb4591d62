"""Which host this is: another may have its name, and the same paths, but not the id in its data directory."""

from __future__ import annotations

import fcntl
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictor.errors import PythiaError
from workers.supervision.files import read_json, write_json

NAME = "host.json"
_RAN_BEFORE = ("attempts", "machines")


class HostIdUnreadable(PythiaError):
    """A host does not know which it is."""

    code = "host_id_unreadable"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} holds no host's id: restore it, or delete it while nothing runs on this host")
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisHost:
    """A host, by its name and by what only its data directory holds."""

    name: str
    id: str | None
    """None where that directory cannot be written: nothing can be run there either."""
    id_in_accounts: bool
    """Whether its machines are kept under its id; not on hosts that had machines before hosts had ids."""

    def account(self, directory: Path) -> str:
        """Machines that are folders of a host's disk are seen from that host alone."""
        return self.registers_as(directory) if self.id_in_accounts else self.once_registered_as(directory)

    def registers_as(self, directory: Path) -> str:
        """What tells it from other hosts of its name."""
        return self.once_registered_as(directory) + (f"#{self.id}" if self.id is not None else "")

    def once_registered_as(self, directory: Path) -> str:
        """The same before hosts had ids."""
        return f"{self.name}:{directory}"


def this_host(data_path: Path, name: str) -> ThisHost:
    """This host, whose id is made the first time that anybody asks."""
    try:
        known = _read(data_path / NAME) or _make(data_path)
    except OSError:
        return ThisHost(name=name, id=None, id_in_accounts=False)
    return ThisHost(name=name, **known)


def _make(data_path: Path) -> dict[str, Any]:
    fresh = not any((data_path / one).exists() for one in _RAN_BEFORE)
    data_path.mkdir(parents=True, exist_ok=True)
    held = os.open(data_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)  # several workers may begin at once
        made = _read(data_path / NAME)
        if made is None:
            made = {"id": uuid.uuid4().hex, "id_in_accounts": fresh}
            write_json(data_path / NAME, made, durable=True)
        return made
    finally:
        os.close(held)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        body = read_json(path)
    except ValueError:
        raise HostIdUnreadable(path) from None
    if body is None:
        return None
    match body:
        case {"id": str(made), "id_in_accounts": bool(in_accounts)} if made:
            return {"id": made, "id_in_accounts": in_accounts}
    raise HostIdUnreadable(path)
