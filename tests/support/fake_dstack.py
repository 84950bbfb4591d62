"""The runs of one project of a dstack server, as far as we look at them, and a cloud that a test plays.

Names, refusals and states are those of dstack 0.22.5, whose own models read every answer (`dstack_models.py`).
"""

from __future__ import annotations

import base64
import re
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
OVER = ("terminated", "failed", "done")
ENDS_AS = {
    "done_by_runner": "done", "terminated_by_user": "terminated", "aborted_by_user": "aborted",
    "terminated_by_server": "terminated", "max_duration_exceeded": "terminated", "scaled_down": "terminated",
    "inactivity_duration_exceeded": "terminated", "terminated_due_to_utilization_policy": "terminated",
}  # fmt: skip
"""States that jobs end in, by reason; `failed` for all others."""
ABORTED_AFTER, STOPPED_AFTER = timedelta(seconds=2), timedelta(minutes=5)
"""What it takes until a run that was told to end is over; the latter where its command does not end by itself."""


class Refused(Exception):
    """An answer that is none: status, sentence, code."""

    def __init__(self, status: int, said: str, code: str | None = "error") -> None:
        super().__init__(said)
        self.status, self.said, self.code = status, said, code


@dataclass
class FakeDstack:
    """A project, its runs by their names, and the time."""

    project: str = "main"
    ahead: timedelta = timedelta()
    stands_at: datetime | None = None
    """The time that it is but for `ahead`; None: the real one."""
    runs: list[Json] = field(default_factory=list)
    """All that ever were made, oldest first; deleted ones are marked."""
    events: list[Json] = field(default_factory=list)
    logs: dict[str, list[Json]] = field(default_factory=dict)
    """By submission."""
    begun: list[str] = field(default_factory=list)
    """Runs whose command has begun, by their ids."""
    told: dict[str, datetime] = field(default_factory=dict)
    """When a run was told to end, by its id."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def now(self) -> datetime:
        return (self.stands_at or datetime.now(UTC)) + self.ahead

    def names(self) -> list[str]:
        """Of runs that really run something, in the order in which they were made."""
        return [run["run_spec"]["run_name"] for run in self.runs if run["jobs"]]

    # what the server is asked for

    def run(self, name: str) -> Json:
        """The run of a name that is not deleted."""
        for run in self.runs:
            if run["run_spec"]["run_name"] == name and not run["deleted"]:
                return run
        raise Refused(400, "Run not found", "resource_not_exists")

    def apply(self, spec: Json, *, beside: bool = False) -> Json:
        """Make a run. `beside`: as where another request passes the same checks at the same moment, on PostgreSQL."""
        name = spec["run_name"]
        if not NAME.fullmatch(name):
            raise Refused(400, "Resource name should match regex '^[a-z][a-z0-9-]{1,40}$'")
        for run in () if beside else self.runs:
            if run["run_spec"]["run_name"] == name and not run["deleted"]:
                if run["status"] not in OVER:
                    raise Refused(400, "Cannot override active run. Stop the run first.")
                run["deleted"] = True
        waits = "schedule" in spec["configuration"]
        run = self._run(spec, "pending" if waits else "submitted")
        self.runs.append(run)
        self._event("Run submitted. Status: " + run["status"].upper(), "run", run["id"], name)
        for number in range(0 if waits else spec["configuration"].get("nodes", 1)):
            self._job(run, number)
        return run

    def stop(self, names: Sequence[str], *, abort: bool) -> None:
        for run in self.runs:
            if run["run_spec"]["run_name"] in names and run["status"] not in OVER:
                run["status"] = "terminating"
                run["termination_reason"] = "aborted_by_user" if abort else "stopped_by_user"
                self.told[run["id"]] = self.now()

    def control(self) -> None:
        """What the server does by itself: it ends what it was told to end."""
        for run in self.runs:
            told = self.told.get(run["id"])
            if run["status"] == "terminating" and told is not None:
                abort = run["termination_reason"] == "aborted_by_user"
                at_once = abort or all(job["job_provisioning_data"] is None for job in self._jobs(run))
                if self.now() - told >= (ABORTED_AFTER if at_once else STOPPED_AFTER) or not run["jobs"]:
                    self._ends(run, "aborted_by_user" if abort else "terminated_by_user")

    # what the cloud does

    def rented(self, name: str, *, usd: float = 2.5, spot: bool = False) -> None:
        """It has machines for a run."""
        run = self.run(name)
        run["status"] = "provisioning"
        for job in self._jobs(run):
            job["job_provisioning_data"] = machine(usd, spot=spot)
            self._changes(job, "provisioning")

    def running(self, name: str) -> None:
        """Its command has begun."""
        run = self.run(name)
        if any(job["job_provisioning_data"] is None for job in self._jobs(run)):
            self.rented(name)
        run["status"] = "running"
        self.begun.append(run["id"])
        for job in self._jobs(run):
            self._changes(job, "pulling")
            self._changes(job, "running")

    def prints(self, name: str, *pieces: bytes) -> None:
        """Each piece has a millisecond of its own, as the runner sees to."""
        stored = self.logs.setdefault(self._jobs(self.run(name))[0]["id"], [])
        for piece in pieces:
            stamp = self.now()
            if stored:
                stamp = max(stamp, datetime.fromisoformat(stored[-1]["timestamp"]) + timedelta(milliseconds=1))
            stored.append(log_event(piece, stamp))

    def ends(self, name: str, code: int, *, node: int = 0) -> None:
        """The command has ended by itself."""
        self.ends_by(name, "container_exited_with_error" if code else "done_by_runner", code=code, node=node)

    def ends_by(
        self, name: str, reason: str, said: str | None = None, *, code: int | None = None, node: int = 0
    ) -> None:
        """A job ends for a reason of dstack's, and its run with it."""
        self._ends(self.run(name), reason, said, code, node)

    def _ends(self, run: Json, reason: str, said: str | None = None, code: int | None = None, node: int = 0) -> None:
        for number, job in enumerate(self._jobs(run)):
            own = reason if number == node or reason.endswith("_by_user") else "terminated_by_server"
            if reason == "done_by_runner":
                own = reason
            if own == reason:
                job["termination_reason_message"], job["exit_status"] = said, code
            job["termination_reason"] = own
            self._changes(job, "terminating", f". Termination reason: {own.upper()}")
            self._changes(job, ENDS_AS.get(own, "failed"))
            job["finished_at"] = job["last_processed_at"]
        if run["termination_reason"] is None:
            run["termination_reason"] = "all_jobs_done" if reason == "done_by_runner" else "job_failed"
        by_user = run["termination_reason"].endswith("_by_user")
        run["status"] = "terminated" if by_user else "done" if reason == "done_by_runner" else "failed"

    # the forms of its answers

    def _jobs(self, run: Json) -> list[Json]:
        return [job["job_submissions"][-1] for job in run["jobs"]]

    def _changes(self, job: Json, status: str, more: str = "") -> None:
        self._event(f"Job status changed {job['status'].upper()} -> {status.upper()}{more}", "job", job["id"], "job")
        job["status"], job["last_processed_at"] = status, self.now().isoformat()

    def _event(self, message: str, kind: str, target: str, name: str) -> None:
        self.events.append(
            {
                "id": str(uuid.uuid4()), "message": message, "recorded_at": self.now().isoformat(),
                "actor_user_id": None, "actor_user": None, "is_actor_user_deleted": None,
                "targets": [
                    {
                        "type": kind, "project_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, self.project)),
                        "project_name": self.project, "is_project_deleted": False, "id": target, "name": name,
                    }
                ],
            }
        )  # fmt: skip

    def _run(self, spec: Json, status: str) -> Json:
        now = self.now().isoformat()
        return {
            "id": str(uuid.uuid4()), "project_name": self.project, "user": "pythia", "fleet": None,
            "submitted_at": now, "last_processed_at": now, "status": status, "status_message": status,
            "termination_reason": None, "run_spec": {"repo_id": "none", "repo_data": {"repo_type": "virtual"}, **spec},
            "jobs": [], "latest_job_submission": None, "cost": 0.0, "service": None, "deployment_num": 0,
            "error": None, "deleted": False, "next_triggered_at": None,
        }  # fmt: skip

    def _job(self, run: Json, number: int) -> None:
        now, asked = self.now().isoformat(), run["run_spec"]["configuration"]
        name = f"{run['run_spec']['run_name']}-{number}-0"
        submission: Json = {
            "id": str(uuid.uuid4()), "submission_num": 0, "deployment_num": 0, "submitted_at": now,
            "last_processed_at": now, "finished_at": None, "inactivity_secs": None, "status": "submitted",
            "status_message": "submitted", "termination_reason": None, "termination_reason_message": None,
            "exit_status": None, "job_provisioning_data": None, "job_runtime_data": None, "error": None, "probes": [],
            "image_pull_progress": None,
        }  # fmt: skip
        spec = {
            "job_num": number, "job_name": name, "commands": ["/bin/sh", "-i", "-c", *asked["commands"]],
            "env": asked["env"], "image_name": asked["image"], "requirements": {"resources": asked["resources"]},
        }  # fmt: skip
        run["jobs"].append({"job_spec": spec, "job_submissions": [submission], "job_connection_info": None})
        self._event("Job created on run submission. Status: SUBMITTED", "job", submission["id"], name)


def log_event(piece: bytes, at: datetime) -> Json:
    """A piece of output."""
    message = base64.b64encode(piece).decode()
    return {"timestamp": at.isoformat(), "log_source": "stdout", "message": message}


def machine(usd: float, *, spot: bool) -> Json:
    """What a server knows of a machine that it has."""
    gpu = {"vendor": "nvidia", "name": "H100", "memory_mib": 81920}
    return {
        "backend": "nebius", "base_backend": None,
        "instance_type": {
            "name": "gpu-h100-sxm", "resources": {"cpus": 16, "memory_mib": 204800, "gpus": [gpu], "spot": spot}
        },
        "instance_id": "i-1", "hostname": "203.0.113.7", "internal_ip": None, "region": "eu-north1", "price": usd,
        "username": "ubuntu", "ssh_port": 22, "dockerized": True,
    }  # fmt: skip
