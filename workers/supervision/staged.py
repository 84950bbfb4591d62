"""The files of one attempt, as its supervisor sees to them: in before the command, out after it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from workers.staging.inside import Inside
from workers.staging.plan import read_plan
from workers.supervision.command import working_dir
from workers.supervision.moving import Moved, move
from workers.supervision.order import Order
from workers.supervision.stopped import Stopped

Look = Callable[[], Stopped | None]


class Staged:
    """What was planned for an attempt, and the keys to the store that it is in."""

    def __init__(self, folder: Path, order: Order, access: Mapping[str, Any] | None) -> None:
        self._folder, self._access, self._plan = folder, access, read_plan(folder)
        self._where, self._own = working_dir(order, folder), order.working_dir is None
        self._brought_in: tuple[str, ...] = ()

    def bring_in(self, look: Look) -> Moved | None:
        """Fetch the inputs; None where there are none."""
        if self._plan is None or not self._plan.inputs:
            return None
        moved = self._move("in", look, all_expected=True)
        self._brought_in = moved.paths
        return moved

    def take_out(self, look: Look, *, all_expected: bool) -> str | None:
        """Send the outputs, then clear away what was fetched into a place of the attempt's own; why not all were sent,
        where that could not be done."""
        moved = Moved()
        if self._plan is not None and self._plan.outputs:
            moved = self._move("out", look, all_expected=all_expected)
        problem = "it was stopped while they were sent" if moved.stopped is not None else moved.failure
        if problem is not None:
            return f"not all outputs were kept ({problem}); they are in {self._where} on {socket.gethostname()}"
        for path in self._brought_in if self._own else ():
            Inside(self._where).remove(path)
        return None

    def _move(self, direction: Literal["in", "out"], look: Look, *, all_expected: bool) -> Moved:
        if not self._where.is_dir():
            return Moved(failure=f"the working directory {self._where} does not exist on this machine")
        if self._access is None:
            return Moved(failure="the keys to their store are gone", may_pass=True)
        return move(direction, self._folder, self._where, self._access, all_expected=all_expected, look=look)
