"""Move the files of an attempt whose command runs in a pod: `python -m workers.staging.pod in|out TOLD ROOT WORD …`.

TOLD is a file with the plan and the keys to the store, ROOT the command's working directory, WORD where the last word
goes, one JSON object. `in` moves at once. `out REST LISTENS` makes the file LISTENS and waits for SIGTERM, which comes
when the command has ended; then it rests for REST seconds, in which a cancelled job's pod is gone, and moves.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from workers.staging.inside import Inside
from workers.staging.plan import Access, FilesPlan, plan_from
from workers.staging.problems import StagingFailed
from workers.staging.store import make_client
from workers.staging.transfers import bring_in, take_out

_LONGEST = 500
"""Characters of a sentence: the last word of a container has 4 KiB, and JSON may need six bytes for one."""


def main(arguments: list[str]) -> int:
    """Move, and leave word; exit code 1 where a file could not be moved."""
    direction, told, root, word, *more = arguments
    # blocked, not handled: it is waited for, and may come as soon as we are known to listen
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    body = json.loads(Path(told).read_bytes())
    plan, access, inside = plan_from(body["plan"]), Access(**body["access"]), Inside(Path(root))
    if direction == "in":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        said = _fetched(access, inside, plan)
    else:
        rest_s, listens = more
        Path(listens).touch()
        signal.sigwait({signal.SIGTERM})
        time.sleep(float(rest_s))
        said = _kept(access, inside, plan)
    Path(word).write_text(json.dumps(said))
    return 0 if said["failure"] is None else 1


def _fetched(access: Access, inside: Inside, plan: FilesPlan) -> dict[str, Any]:
    try:
        bring_in(make_client(access), inside, plan)
    except StagingFailed as problem:
        return {"failure": str(problem)[:_LONGEST], "may_pass": problem.may_pass}
    # the command may run as anybody, and these are its files now
    for folder, _, names in os.walk(inside.root):
        Path(folder).chmod(0o777)
        for name in names:
            Path(folder, name).chmod(0o666)
    return {"failure": None, "may_pass": False}


def _kept(access: Access, inside: Inside, plan: FilesPlan) -> dict[str, Any]:
    """What could not be sent, and which line named nothing: whether that is a fault, whoever knows how the command
    ended decides."""
    missing = next((line.source for line in plan.outputs if not inside.files(line.source)[0]), None)
    failure = None
    try:
        take_out(make_client(access), inside, plan, all_expected=False)
    except StagingFailed as problem:
        failure = str(problem)[:_LONGEST]
    return {"failure": failure, "missing": None if missing is None else missing[:_LONGEST]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
