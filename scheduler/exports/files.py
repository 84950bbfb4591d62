"""A placement as the text of a task file, with what it was planned for at its head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from scheduler.exports.dstack import dstack_task
from scheduler.exports.names import Engine
from scheduler.exports.rental import Rental
from scheduler.exports.skypilot import skypilot_task

_WRITERS: Mapping[Engine, Callable[[Rental], dict[str, Any]]] = {
    Engine.DSTACK: dstack_task,
    Engine.SKYPILOT: skypilot_task,
}
_LAUNCH = {Engine.DSTACK: "dstack apply -f FILE", Engine.SKYPILOT: "sky launch FILE"}


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def task_file(engine: Engine, rental: Rental, said: str) -> str:
    """A whole file; what is said stands above it, on one line."""
    body = yaml.dump(_WRITERS[engine](rental), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    head = [" ".join(said.split()), f"{_LAUNCH[engine]}{_values(engine, rental)}", *_hints(engine, rental)]
    return "".join(f"# {line}\n" for line in head) + body


def _values(engine: Engine, rental: Rental) -> str:
    if not rental.secrets:
        return ""
    names = ", ".join(rental.secrets)
    if engine is Engine.SKYPILOT:
        return " " + " ".join(f"--secret {name}" for name in rental.secrets) + f"   (with {names} in your environment)"
    return f"   (with {names} in your environment)"


def _hints(engine: Engine, rental: Rental) -> list[str]:
    hints = []
    if rental.image is None:
        hints.append(f"The job names no image: {engine}'s own has to hold what the command needs.")
    if rental.nodes > 1:
        prefix = "DSTACK_NODE_RANK, DSTACK_MASTER_NODE_IP" if engine is Engine.DSTACK else "SKYPILOT_NODE_RANK"
        hints.append(f"The command runs on each of {rental.nodes} machines; {prefix} say which one it is on.")
    return hints
