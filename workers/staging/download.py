"""Bring one file in: streamed, gone on with where a connection broke, and checked before it has its name."""

from __future__ import annotations

import base64
import hashlib
import os
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from workers.staging.inside import Inside, parts_of
from workers.staging.problems import StagingFailed
from workers.staging.store import failed

_DRAFT = ".pythia-part"
_CHUNK_BYTES = 1024 * 1024
FRUITLESS = 6
"""Connections in a row that brought nothing, before the store is given up …"""
PAUSE_S = 0.5
"""… with pauses between them that double: half a minute in all."""
_CHANGED = 3
"""How often a file may be replaced under our hands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file in the store."""

    bucket: str
    key: str
    size: int

    @property
    def url(self) -> str:
        """As it is written in a spec."""
        return f"s3://{self.bucket}/{self.key}"


class _Replaced(Exception):
    """The file is another than the one we began with."""


class _Sums:
    """Checksums of what has come so far."""

    def __init__(self) -> None:
        self._sha256, self._crc32 = hashlib.sha256(), 0

    def add(self, data: bytes) -> None:
        self._sha256.update(data)
        self._crc32 = zlib.crc32(data, self._crc32)

    def check(self, url: str, told: dict[str, Any], sha256: str | None) -> None:
        """Against what the spec says, and what the store says of the whole file."""
        if sha256 is not None and self._sha256.hexdigest() != sha256.lower():
            raise StagingFailed(url, f"its SHA-256 is {self._sha256.hexdigest()}, not the one in the spec")
        if told.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            return  # of its parts: says nothing of the whole
        ours = {
            "ChecksumSHA256": base64.b64encode(self._sha256.digest()).decode(),
            "ChecksumCRC32": base64.b64encode(self._crc32.to_bytes(4, "big")).decode(),
        }
        for name, value in ours.items():
            if name in told and "-" not in told[name] and told[name] != value:
                raise StagingFailed(url, f"it was damaged on its way ({name} differs)", may_pass=True)


def download(client: Any, inside: Inside, found: Found, to: str, *, sha256: str | None = None) -> int:
    """Bring a file in under a path below the root; its size. StagingFailed says which file and why not."""
    *before, name = parts_of(to)
    with inside.folder(before, make=True) as folder:
        for _ in range(_CHANGED):
            try:
                with inside.open_new(folder, _DRAFT) as file:
                    size = _fetch(client, found, file, sha256)
                    os.fsync(file.fileno())
                os.rename(_DRAFT, name, src_dir_fd=folder, dst_dir_fd=folder)
                return size
            except _Replaced:
                continue
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(_DRAFT, dir_fd=folder)
                raise
        os.unlink(_DRAFT, dir_fd=folder)
    raise StagingFailed(found.url, "it was replaced again and again while it was read", may_pass=True)


def _fetch(client: Any, found: Found, file: BinaryIO, sha256: str | None) -> int:
    try:
        head = client.head_object(Bucket=found.bucket, Key=found.key, ChecksumMode="ENABLED")
    except (ClientError, BotoCoreError) as error:
        raise failed(found.url, error) from None
    size, sums = int(head["ContentLength"]), _Sums()
    if size > found.size:
        raise _Replaced  # it has grown since it was counted
    done = fruitless = 0
    while done < size:
        came, problem = _go_on(client, found, head["ETag"], file, sums, done, size)
        done += came
        fruitless = 0 if came else fruitless + 1
        if fruitless > FRUITLESS:
            raise problem or StagingFailed(found.url, "the store sends less than it promises", may_pass=True)
        if fruitless:
            time.sleep(PAUSE_S * 2 ** (fruitless - 1))
    sums.check(found.url, head, sha256)
    return size


def _go_on(
    client: Any, found: Found, etag: str, file: BinaryIO, sums: _Sums, done: int, size: int
) -> tuple[int, StagingFailed | None]:
    """Fetch the rest behind so many bytes over one connection: how many came, and what broke it off, if it broke."""
    came = 0
    try:
        # IfMatch: the rest of another file must not be put behind the beginning of this one
        answer = client.get_object(Bucket=found.bucket, Key=found.key, Range=f"bytes={done}-", IfMatch=etag)
        with answer["Body"] as body:
            while data := body.read(min(_CHUNK_BYTES, size - done - came)):
                file.write(data)
                sums.add(data)
                came += len(data)
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] in (412, 416):
            raise _Replaced from None
        problem = failed(found.url, error)
        if not problem.may_pass:
            raise problem from None
        return came, problem
    return came, None
