"""Read what a user names on the command line, and say in one sentence why it cannot be read."""

from __future__ import annotations

from pathlib import Path

from scheduler.cli.output import InvalidArgument


def read_bytes(name: str) -> bytes:
    """A file's bytes."""
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{name} cannot be read: {error.strerror or error}") from error
