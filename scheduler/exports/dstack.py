"""Write a rental as a dstack task: `dstack apply -f FILE` rents it, runs it, and lets it go.

The fields are those of dstack 0.22 (`dstack.ai/docs/reference/dstack.yml/task`). The same task is what a live run asks
a dstack server for; what differs is said in `dstack_configuration`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scheduler.exports.names import Engine, card, seller
from scheduler.exports.rental import Rental

_MEMORY_APART = 0.1
"""Sellers count a card's memory in GB or GiB, with or without what ECC takes: that far apart it is the same card."""


def dstack_task(rental: Rental) -> dict[str, Any]:
    """The body of a task file."""
    sold = seller(Engine.DSTACK, rental.provider)
    low, high = rental.gpu_gb * (1 - _MEMORY_APART), rental.gpu_gb * (1 + _MEMORY_APART)
    task: dict[str, Any] = {"type": "task", "name": rental.name}
    if rental.nodes > 1:
        task["nodes"] = rental.nodes
    if rental.image is not None:
        task["image"] = rental.image
    task["commands"] = [_literal(_command(rental))]
    if rental.env or rental.secrets:
        # a name without a value is taken from the environment of whoever applies the file
        values = [f"{name}={_literal(value)}" for name, value in rental.env.items()]
        task["env"] = [*values, *rental.secrets]
    task["resources"] = {
        "gpu": {
            "vendor": rental.gpu_vendor,
            "name": card(Engine.DSTACK, rental.provider, rental.gpu_type),
            "memory": f"{low:.1f}GB..{high:.1f}GB",
            "count": rental.gpus_per_node,
        }
    }
    task["backends"] = [sold.name]
    if rental.region:
        task["regions"] = [rental.region]
    if sold.names_instances and rental.instance_type is not None:
        task["instance_types"] = [rental.instance_type]
    task["spot_policy"] = "spot" if rental.spot else "on-demand"
    if rental.cents_per_node_hour > 0:
        task["max_price"] = rental.usd_per_node_hour
    if rental.limit_s is not None:
        task["max_duration"] = f"{rental.limit_s}s"
    task["creation_policy"] = "reuse-or-create"
    task["idle_duration"] = "0s"  # the machine goes with the run: what it would cost idle is in no plan
    return task


def dstack_configuration(rental: Rental, more: Mapping[str, str]) -> dict[str, Any]:
    """The same task as the command line sends it to a server: the command in order, since only the command line makes
    `$` of `$$` in it, and every variable with its value; `more` are those that the file leaves to somebody else."""
    task = dstack_task(rental)
    task["commands"] = [_command(rental)]
    task["env"] = {name: _literal(value) for name, value in {**rental.env, **more}.items()}
    return task


def _command(rental: Rental) -> str:
    """The line for the shell. A server would put addresses in the place of `${{ groups… }}`: in two quoted
    pieces, which the shell puts together again, it does not see it."""
    return re.sub(r"\$(?=\{\{\s*groups)", "$''", rental.command_line())


def _literal(text: str) -> str:
    """Text that stays what it is: dstack would put variables in the place of `${{ … }}`, and makes `$` of `$$`."""
    return text.replace("$", "$$")
