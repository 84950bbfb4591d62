"""`pythia submit`: hand a job over, and wait for its end if asked."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from scheduler.cli.output import EXIT_JOB_FAILED, EXIT_REFUSED, AsJson, emit

_LOOK_S = 0.3
_EXIT_CODES = {"completed": 0, "infeasible": EXIT_REFUSED}
FINAL = frozenset({"completed", "failed", "cancelled", "infeasible"})


def submit(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job spec; - reads standard input.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the job's end; exit code 1 if it failed.")] = False,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key submits the same job only once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job and print where it was placed. Exit code 3 if no placement will do."""
    from scheduler.cli.client import connect  # noqa: PLC0415
    from scheduler.cli.job_file import read_job_file  # noqa: PLC0415

    spec = read_job_file(job)
    with connect() as server:
        taken = server.post("/v1/jobs", spec, {"Idempotency-Key": key} if key else None)
        if not as_json:
            typer.echo(submitted_text(taken))
        last = _follow(server, taken, quiet=as_json) if wait else taken
    if as_json:
        emit(last, "", as_json=True)
    raise typer.Exit(_exit_code(last, waited=wait))


def _follow(server: Any, job: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The job at its end; each state is said once, on stderr, so that stdout stays the answer."""
    state = job["state"]
    while job["state"] not in FINAL:
        time.sleep(_LOOK_S)
        job = server.get(f"/v1/jobs/{job['id']}")
        if job["state"] != state and not quiet:
            state = job["state"]
            print(f"  {state}" + (f": {job['reason']}" if job["reason"] else ""), file=sys.stderr, flush=True)
    return job


def _exit_code(job: dict[str, Any], *, waited: bool) -> int:
    if job["state"] == "infeasible":
        return EXIT_REFUSED
    return _EXIT_CODES.get(job["state"], EXIT_JOB_FAILED) if waited else 0


def submitted_text(job: dict[str, Any]) -> str:
    """A job just taken: its id, and the decision in a sentence."""
    decision = job["decision"]
    return f"{job['id']}  {job['state']}  {job['name']}\n  {decision['reason']}"
