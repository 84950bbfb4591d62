"""What Jobs and pods of a `FakeCluster` say of themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

Object = dict[str, Any]


def over(job: Object) -> Object | None:
    for condition in job["status"].get("conditions", []):
        if condition["type"] in ("Complete", "Failed"):
            return condition  # type: ignore[no-any-return]
    return None


def condition(pod: Object, kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in pod["status"].get("conditions", []))


def command_status(pod: Object) -> Object:
    found = pod["status"].get("containerStatuses") or [{}]
    return found[0]  # type: ignore[no-any-return]


def command(pod: Object) -> Object:
    return pod["spec"]["containers"][0]  # type: ignore[no-any-return]


def statuses(pod: Object) -> list[Object]:
    return [*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ())]


def set_state(pod: Object, state: Object, name: str | None = None) -> None:
    """Of the command's container, or of another."""
    kind = "containerStatuses" if name in (None, command(pod)["name"]) else "initContainerStatuses"
    name = name or command(pod)["name"]
    others = [one for one in pod["status"].get(kind, ()) if one["name"] != name]
    status = {"name": name, "image": "x", "imageID": "", "ready": "running" in state, "restartCount": 0, "state": state}
    pod["status"][kind] = [*others, status]


def as_stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
