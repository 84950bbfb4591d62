"""Follow jobs to their end over HTTP, telling each change once."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from predictor.errors import PythiaError
from scheduler.cli.client import Client
from scheduler.cli.submit import FINAL
from scheduler.demo.cast import Story
from scheduler.demo.narrator import Narrator

_LOOK_S = 0.2


class DemoFailed(PythiaError):
    """The demo did not come to what it promises."""

    code = "demo_failed"


def until_ended(
    server: Client, narrator: Narrator, job_ids: Collection[str], *, label: str, limit_s: float, tell: bool = True
) -> dict[str, dict[str, Any]]:
    """The jobs by id once every one has ended; DemoFailed names those that have not in time."""
    deadline = time.monotonic() + limit_s
    told: dict[str, tuple[str, int]] = {}
    while True:
        page = server.get("/v1/jobs", label=[label], limit=1000)["items"]
        found = {job["id"]: job for job in page if job["id"] in job_ids}
        for job in reversed(list(found.values())):
            now = (job["state"], job["attempts_made"])
            # a refusal was told when the job was submitted
            if tell and told.get(job["id"]) != now and (job["state"] != "infeasible" or job["attempts_made"]):
                told[job["id"]] = now
                narrator.say(f"{job['name']:<26} {job['state']}" + _aside(job))
        pending = [job["name"] for job in found.values() if job["state"] not in FINAL]
        if not pending and len(found) == len(job_ids):
            return found
        if time.monotonic() > deadline:
            raise DemoFailed(f"{', '.join(pending) or 'a job'} did not end within {limit_s:.0f} s")
        time.sleep(_LOOK_S)


def _aside(job: dict[str, Any]) -> str:
    attempt = f", try {job['attempts_made']}" if job["attempts_made"] > 1 else ""
    return attempt + (f": {job['reason']}" if job["reason"] else "")


def story_of(server: Client, job_id: str) -> Story:
    """A job with everything that is known of it."""
    path = f"/v1/jobs/{job_id}"
    decisions = server.get(f"{path}/decisions")["items"]
    return Story(server.get(path), decisions, server.get(f"{path}/attempts")["items"])
