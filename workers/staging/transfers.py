"""Bring in all inputs of an attempt, or take out all of its outputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from scheduler.domain.file_names import split_url
from workers.staging.download import Found, download
from workers.staging.inside import Inside, OutsidePath
from workers.staging.plan import FilesPlan, Transfer
from workers.staging.problems import StagingFailed
from workers.staging.store import failed
from workers.staging.upload import upload

MOST_FILES = 100_000


def bring_in(client: Any, inside: Inside, plan: FilesPlan) -> list[str]:
    """Bring in every input; the paths that were written. All are counted before the first is fetched."""
    wanted: list[tuple[Found, str, str | None]] = []
    size = 0
    for line in plan.inputs:
        for found, to in _found(client, line):
            wanted.append((found, to, line.sha256))
            size += found.size
            if len(wanted) > MOST_FILES:
                raise StagingFailed(line.source, f"these are more than {MOST_FILES:,} files; pack them")
            if size > plan.most_bytes:
                raise StagingFailed(line.source, f"the inputs are larger than the {plan.most_bytes:,} bytes allowed")
    free = shutil.disk_usage(inside.root).free
    if size > free:
        raise StagingFailed("inputs", f"they need {size:,} bytes, and {free:,} are free on the machine", may_pass=True)
    for found, to, sha256 in wanted:
        try:
            download(client, inside, found, to, sha256=sha256)
        except OutsidePath as problem:
            raise StagingFailed(found.url, str(problem)) from None
        except OSError as error:
            raise StagingFailed(found.url, f"it cannot be written: {error.strerror}", may_pass=True) from None
    return [to for _, to, _ in wanted]


def _found(client: Any, line: Transfer) -> Iterator[tuple[Found, str]]:
    bucket, key = split_url(line.source)
    try:
        if key and not key.endswith("/"):
            head = client.head_object(Bucket=bucket, Key=key)
            to = line.to + key.rpartition("/")[2] if line.to.endswith("/") else line.to
            yield Found(bucket=bucket, key=key, size=int(head["ContentLength"])), to
            return
        nothing = True
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            for one in page.get("Contents", ()):
                if one["Key"].endswith("/"):
                    continue  # what consoles make to show a folder
                nothing = False
                below = one["Key"].removeprefix(key)
                yield Found(bucket=bucket, key=one["Key"], size=int(one["Size"])), f"{line.to.rstrip('/')}/{below}"
        if nothing:
            raise StagingFailed(line.source, "there is no file below it")
    except (ClientError, BotoCoreError) as error:
        raise failed(line.source, error) from None


def take_out(client: Any, inside: Inside, plan: FilesPlan, *, all_expected: bool) -> int:
    """Take out every output; how many files. One that cannot be taken keeps no other from it: the first problem is
    raised at the end. `all_expected`: a line that names nothing is one."""
    problems: list[StagingFailed] = []
    wanted: list[tuple[Transfer, str, str]] = []
    for line in plan.outputs:
        names, base = inside.files(line.source)
        if not names and all_expected:
            problems.append(StagingFailed(line.source, "the command left no such file"))
        wanted += [(line, name, base) for name in names]
    if len(wanted) > MOST_FILES:
        raise StagingFailed("outputs", f"these are more than {MOST_FILES:,} files; pack them")
    left = plan.most_bytes
    for line, name, base in wanted:
        try:
            with inside.reading(name) as file:
                size = os.fstat(file.fileno()).st_size
                if size > left:
                    raise StagingFailed(name, f"with it the outputs exceed the {plan.most_bytes:,} bytes allowed")
                left -= size
                upload(client, file, size, *_target(line, name, base))
        except StagingFailed as problem:
            problems.append(problem)
        except (OutsidePath, OSError) as error:
            problems.append(StagingFailed(name, str(error)))
    if problems:
        raise problems[0]
    return len(wanted)


def _target(line: Transfer, name: str, base: str) -> tuple[str, str]:
    bucket, key = split_url(line.to)
    if name == line.source.strip("/") and key and not key.endswith("/"):
        return bucket, key
    below = name.removeprefix(base).removeprefix("/")
    return bucket, f"{key}{'/' if key and not key.endswith('/') else ''}{below}"
