"""Have the files of an attempt moved by a process of its own, and go on watching meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workers.supervision.command import KEPT_VARIABLES
from workers.supervision.order import MOVED
from workers.supervision.processes import signal_group
from workers.supervision.stopped import Stopped

_LOOK_S = 0.1
# what this host knows of Amazon is not a job's to use
NO_OTHER_KEYS = {
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What came of it."""

    failure: str | None = None
    """One sentence that names the file."""
    may_pass: bool = False
    """It might succeed at another time, or from another machine."""
    stopped: Stopped | None = None
    """It was broken off."""
    paths: tuple[str, ...] = ()
    """What was written, below the working directory."""


def move(
    direction: Literal["in", "out"],
    folder: Path,
    root: Path,
    access: Mapping[str, Any],
    *,
    all_expected: bool,
    look: Callable[[], Stopped | None],
) -> Moved:
    """Move the files that are planned in an attempt's directory. `look` is called ten times a second, and ends it by
    saying why."""
    kept = {name: os.environ[name] for name in (*KEPT_VARIABLES, "PYTHONPATH") if name in os.environ}
    # a file of its own, or a hundred thousand names would fill a pipe that nobody reads
    with (folder / MOVED).open("wb") as result:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.staging", direction, str(folder), str(root)],
            env={**kept, **NO_OTHER_KEYS, "PYTHIA_ATTEMPT_ID": folder.name},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=result,
            start_new_session=True,
        )
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        process.stdin.write(json.dumps({"access": dict(access), "all_expected": all_expected}).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it has ended, and its exit code says so
    while True:
        try:
            process.wait(_LOOK_S)
            break
        except subprocess.TimeoutExpired:
            if (stopped := look()) is not None:
                signal_group(process.pid, signal.SIGKILL)
                process.wait()
                return Moved(stopped=stopped)
    said = _said(folder) if process.returncode == 0 else None
    if said is None:
        return Moved(failure=f"the process that moves files ended with exit code {process.returncode}", may_pass=True)
    return Moved(failure=said["failure"], may_pass=said["may_pass"], paths=tuple(said["paths"]))


def _said(folder: Path) -> dict[str, Any] | None:
    try:
        said: dict[str, Any] = json.loads((folder / MOVED).read_bytes())
    except ValueError:
        return None
    return said
