"""Write a rental as a SkyPilot task: `sky launch FILE` rents it, runs it, and lets it go.

The fields are those of SkyPilot 0.14 (`docs.skypilot.co/en/latest/reference/yaml-spec.html`).
"""

from __future__ import annotations

from typing import Any

from scheduler.exports.names import Engine, card, seller
from scheduler.exports.rental import Rental

_GRACE_S = 30
_IDLE_MINUTES = 5
"""A machine on which nothing runs is taken down: SkyPilot keeps it otherwise."""


def skypilot_task(rental: Rental) -> dict[str, Any]:
    """The body of a task file."""
    sold = seller(Engine.SKYPILOT, rental.provider)
    resources: dict[str, Any] = {
        "infra": sold.name if not rental.region else f"{sold.name}/{rental.region}",
        "accelerators": {card(Engine.SKYPILOT, rental.provider, rental.gpu_type): rental.gpus_per_node},
    }
    if sold.names_instances and rental.instance_type is not None:
        resources["instance_type"] = rental.instance_type
    resources["use_spot"] = rental.spot
    if rental.cents_per_node_hour > 0:
        resources["max_hourly_cost"] = rental.usd_per_node_hour
    if rental.image is not None:
        resources["image_id"] = f"docker:{rental.image}"
    resources["autostop"] = {"idle_minutes": _IDLE_MINUTES, "down": True}
    task: dict[str, Any] = {"name": rental.name, "resources": resources}
    if rental.nodes > 1:
        task["num_nodes"] = rental.nodes
    if rental.env:
        task["envs"] = dict(rental.env)
    if rental.secrets:
        # no value: whoever launches it gives one with --secret
        task["secrets"] = dict.fromkeys(rental.secrets)
    task["run"] = _run(rental)
    return task


def _run(rental: Rental) -> str:
    """The command line; with a limit under `timeout` of coreutils, since SkyPilot has none of its own."""
    if rental.limit_s is None:
        return rental.command_line() + "\n"
    return rental.command_line("timeout", f"--kill-after={_GRACE_S}", str(rental.limit_s)) + "\n"
