"""Move the files of one attempt: `python -m workers.staging in|out DIR ROOT`, with the keys to the store on stdin.

A process of its own, so that the client's memory is not the supervisor's, and so that it can be ended at any moment.
What came of it is one JSON object on stdout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from workers.staging.inside import Inside
from workers.staging.plan import Access, read_plan
from workers.staging.problems import StagingFailed
from workers.staging.store import make_client
from workers.staging.transfers import bring_in, take_out


def main(arguments: list[str]) -> int:
    """Move, and say what came of it; exit code 0 also where a file could not be moved."""
    direction, folder, root = arguments
    told = json.load(sys.stdin)
    plan = read_plan(Path(folder))
    if plan is None:
        raise RuntimeError(f"no files were planned in {folder}")
    inside = Inside(Path(root))
    said: dict[str, Any] = {"failure": None, "may_pass": False, "paths": []}
    try:
        client = make_client(Access(**told["access"]))
        if direction == "in":
            said["paths"] = bring_in(client, inside, plan)
        else:
            take_out(client, inside, plan, all_expected=told["all_expected"])
    except StagingFailed as problem:
        said |= {"failure": str(problem), "may_pass": problem.may_pass}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
