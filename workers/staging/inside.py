"""Files below one directory, and no others: names from outside and links that a command left lead nowhere else.

Every step of a path is opened by itself, relative to the one before and never through a symbolic link, so there is no
moment between a check and its use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from scheduler.domain.file_names import GLOB

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OutsidePath(Exception):
    """A path leads out of the directory, or through a link."""


def parts_of(path: str) -> list[str]:
    """The steps of a relative path; OutsidePath where it would lead out."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path or not parts:
        raise OutsidePath(f"{path!r} does not lead to a file below the working directory")
    return parts


@dataclass(frozen=True, slots=True)
class Inside:
    """A directory."""

    root: Path

    @contextmanager
    def folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of a directory below the root; OutsidePath where a link or a file stands in the way."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=descriptor)
                try:
                    below = os.open(part, _FOLDER, dir_fd=descriptor)
                except (NotADirectoryError, OSError) as error:
                    if isinstance(error, FileNotFoundError):
                        raise
                    raise OutsidePath(f"{'/'.join(parts)} leads through {part}, which is no folder") from None
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def open_new(self, folder: int, name: str) -> BinaryIO:
        """A new empty file in an open directory; one that is there under this name is replaced, and not written into:
        it may be a link."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(name, flags, 0o644, dir_fd=folder), "w+b", buffering=0)

    @contextmanager
    def reading(self, path: str) -> Iterator[BinaryIO]:
        """A regular file below the root; OutsidePath where it is something else."""
        *before, name = parts_of(path)
        with self.folder(before) as folder:
            try:
                # a pipe that nobody writes to must not keep us waiting
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise OutsidePath(f"{path} cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OutsidePath(f"{path} is no regular file")
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            yield file

    def remove(self, path: str) -> None:
        """Delete a file, if it is there; folders stay."""
        *before, name = parts_of(path)
        with suppress(OSError, OutsidePath), self.folder(before) as folder:
            os.unlink(name, dir_fd=folder)

    def files(self, pattern: str) -> tuple[list[str], str]:
        """Regular files that a path, a folder or a pattern names, in order, and the folder that they are below of.

        Links are passed by. `**` stands for any number of folders.
        """
        parts = parts_of(pattern)
        fixed = next((number for number, part in enumerate(parts) if GLOB & set(part)), len(parts))
        if fixed == len(parts):
            with suppress(FileNotFoundError, OutsidePath), self.folder(parts):
                return [path for path in self._walk() if path.startswith("/".join(parts) + "/")], "/".join(parts)
            wanted = "/".join(parts)
            with suppress(FileNotFoundError, OutsidePath), self.reading(wanted):
                return [wanted], "/".join(parts[:-1])
            return [], ""
        return [path for path in self._walk() if _matches(path.split("/"), parts)], "/".join(parts[:fixed])

    def _walk(self) -> Iterator[str]:
        for folder, folders, names, descriptor in os.fwalk(self.root, follow_symlinks=False):
            folders.sort()
            below = Path(folder).relative_to(self.root)
            for name in sorted(names):
                with suppress(OSError):
                    if stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                        yield str(below / name)


def _matches(path: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[skip:], pattern[1:]) for skip in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])
