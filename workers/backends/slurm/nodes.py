"""What the supervisor on the first of several nodes sees of those on all of them, and tells them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.backends.slurm.files import GIVEN, leave_word, refresh
from workers.supervision.memory import MemoryProbe
from workers.supervision.order import Order
from workers.supervision.processes import signal_name
from workers.supervision.status import RunState, Status, read_status
from workers.supervision.stopped import Stopped
from workers.supervision.watch import GRACEFUL, HARD

_BETWEEN_LOOKS_S = 0.5
LAST_WORDS_S = 10.0
"""How long the last word of a supervisor that has ended may be on its way through a shared file system."""


@dataclass(frozen=True, slots=True)
class Node:
    """One of them whose command has not ended well, by itself."""

    host: str
    status: Status

    @property
    def why(self) -> str | None:
        """In a few words; None where its memory, or its machine, says it all."""
        said = self.status
        if said.failure is not None:
            return f"on the node {self.host}: {said.failure}"
        if said.stopped is not None or said.out_of_memory is not None:
            return None
        how = f"exit code {said.exit_code}" if said.signal is None else f"ended by {signal_name(said.signal)}"
        return f"{how} on the node {self.host}"


class Nodes(MemoryProbe):
    """Their directories. Memory is that of the fullest."""

    def __init__(self, root: Path, count: int, secrets: Mapping[str, str]) -> None:
        super().__init__(None, ())
        self._folders = [root / str(rank) for rank in range(count)]
        self._secrets = secrets
        self._hosts: Sequence[str] = ()
        self._statuses: dict[int, Status] = {}
        self._said: str | None = None
        self._looked_at = float("-inf")
        self._failed_at: float | None = None

    def prepare(self, orders: Sequence[Order], hosts: Sequence[str]) -> None:
        """Make a directory for each node, with what its supervisor shall do."""
        self._hosts = hosts
        for folder, order in zip(self._folders, orders, strict=True):
            (folder / "tmp").mkdir(parents=True, mode=0o700)
            order.write(folder)
            if self._secrets:
                (folder / GIVEN).touch()

    def sample(self) -> None:
        """Look at all of them now and then, answer those that ask, and end all once one has failed."""
        if time.monotonic() - self._looked_at >= _BETWEEN_LOOKS_S:
            self._look()
            self._looked_at = time.monotonic()

    def settle(self, *, patience_s: float) -> None:
        """Wait for the last words of supervisors that have ended."""
        until = time.monotonic() + patience_s
        self._look()
        while self._statuses and self.silent() and time.monotonic() < until:
            time.sleep(_BETWEEN_LOOKS_S)
            self._look()

    def tell(self, word: str) -> None:
        """Have all of them end their commands, gracefully or at once."""
        if self._said in (word, HARD):
            return
        with suppress(OSError):  # it is said again at the next look, to all
            for folder in self._folders:
                leave_word(folder, word)
            self._said = word

    def overdue(self, patience_s: float) -> bool:
        """Whether the others still go on so long after the first that failed."""
        return self._failed_at is not None and time.monotonic() - self._failed_at > patience_s

    def first_failure(self) -> Node | None:
        """Which ended first, and neither well nor because it was told to: the others follow from it."""
        failed = [
            (status.heartbeat_at, rank)
            for rank, status in self._statuses.items()
            if status.state is RunState.ENDED
            and status.stopped is not Stopped.ASKED
            and (status.stopped is not None or status.exit_code != 0)
        ]
        if not failed:
            return None
        rank = min(failed)[1]
        return Node(self._hosts[rank], self._statuses[rank])

    def silent(self) -> list[str]:
        """Hosts whose supervisors have left no last word."""
        return [
            host
            for rank, host in enumerate(self._hosts)
            if rank not in self._statuses or self._statuses[rank].state is not RunState.ENDED
        ]

    def peaks(self) -> dict[str, Any]:
        """The highest that was measured of each memory, on whichever node."""
        fullest = max(
            (status for status in self._statuses.values() if status.peak_vram_gib is not None),
            key=lambda status: status.peak_vram_gib or 0.0,
            default=None,
        )
        found = {name: self._highest(name) for name in ("peak_rss_gib", "peak_allocated_gib", "peak_reserved_gib")}
        if fullest is not None:
            found |= {"peak_vram_gib": fullest.peak_vram_gib, "vram_metric": fullest.vram_metric}
        return {name: value for name, value in found.items() if value is not None}

    def _highest(self, name: str) -> Any:
        return max(
            (one for status in self._statuses.values() if (one := getattr(status, name)) is not None), default=None
        )

    def _look(self) -> None:
        for rank, folder in enumerate(self._folders):
            known = self._statuses.get(rank)
            if known is not None and known.state is RunState.ENDED:
                continue
            with suppress(OSError):  # a shared file system has its moments, and the job outlives them
                self._look_at(rank, folder)
        found = self.peaks()
        self.peak_rss_gib, self.peak_vram_gib = found.get("peak_rss_gib"), found.get("peak_vram_gib")
        if self.first_failure() is not None:
            self._failed_at = self._failed_at or time.monotonic()
            self.tell(GRACEFUL)

    def _look_at(self, rank: int, folder: Path) -> None:
        refresh(folder)
        status = read_status(folder)
        if status is not None:
            self._statuses[rank] = status
            if self._secrets and status.state is RunState.STARTING:
                self._answer(folder)

    def _answer(self, folder: Path) -> None:
        from workers.backends.slurm.sealed import answer, asking_key  # noqa: PLC0415 - only with secrets

        key = asking_key(folder)
        if key is not None:
            answer(folder, key, json.dumps({"secrets": dict(self._secrets), "access": None}).encode())
