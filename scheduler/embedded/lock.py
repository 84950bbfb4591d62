"""One Pythia per data directory, by a lock that the kernel drops when its holder is gone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from predictor.errors import PythiaError


class DirectoryInUse(PythiaError):
    """Another Pythia runs on the same data directory."""

    code = "directory_in_use"

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"{directory} is in use by another Pythia (process {holder}): "
            "stop that one, or name another directory with --data-dir"
        )
        self.directory = directory
        self.holder = holder


class DirectoryLock:
    """Held from `acquire` to `release`, or until this process ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or say which process has it."""
        # opened without truncating: the number inside is the holder's until we hold the lock
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DirectoryInUse(self._directory, holder) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one in; the file stays, since deleting it would let two processes lock two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
