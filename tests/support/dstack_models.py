"""Read a server's answers with dstack's own models, in its environment, not in ours: `python dstack_models.py FILE`.

FILE holds lines of JSON, each a pair of what was asked and what was answered. Prints, as JSON, what the models refuse,
and how dstack says that a job ends.
"""

# ruff: noqa: PLC0415 - dstack is there only where this runs

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Read all; what is refused is told in dstack's own words."""
    from dstack._internal.core.models.events import Event
    from dstack._internal.core.models.logs import JobSubmissionLogs
    from dstack._internal.core.models.runs import JobTerminationReason, Run
    from pydantic import TypeAdapter

    readers = {
        "runs/get": Run.model_validate,
        "runs/apply": Run.model_validate,
        "runs/list": TypeAdapter(list[Run]).validate_python,
        "events/list": TypeAdapter(list[Event]).validate_python,
        "logs/poll": JobSubmissionLogs.model_validate,
    }
    refused, read = [], dict.fromkeys(readers, 0)
    for line in Path(sys.argv[1]).read_text().splitlines():
        asked, answer = json.loads(line)
        if asked not in readers:
            continue
        try:
            readers[asked](answer)
            read[asked] += 1
        except ValueError as error:
            refused.append(f"{asked}: {error}")
    reasons = {reason.value: reason.to_status().value for reason in JobTerminationReason}
    print("read " + json.dumps({"read": read, "refused": refused, "reasons": reasons}))


if __name__ == "__main__":
    main()
