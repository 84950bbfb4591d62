"""The machines of a provider that is this very disk: a folder each, named by its key, with `machine.json` in it.

It keeps a meter as providers do: seconds since the machine was opened, by its own clock. On a simulated provider what
was drawn passes in virtual time: provisioning, scaled, and runs, whatever the command that stands in for one took.
Waiting for us passes as it is: a machine that stood ready for a second while a worker was busy was ready for a second.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from scheduler.domain.machines import Machine, Meter
from workers.backends.base import MachinePhase, MachineReport, StartFailed
from workers.supervision.files import read_json, write_json

_NAME, _LIVE = "machine.json", "live"
_KEPT_S = 7 * 86400.0
"""How long a closed machine is remembered: so long a late order for it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One machine. Moments are Unix time, seconds are the machine's own."""

    key: str
    opened_at: float
    provision_s: float
    gpu_count: int = 0
    pool: str = ""
    """What a quota is on."""
    metered_s: float = 0.0
    """The meter at `read_at`; before the machine is ready it is reckoned from the opening."""
    read_at: float
    shared: bool = False
    """Whether others may begin beside those that run."""
    uses: dict[str, list[float]] = field(default_factory=dict)
    """Attempt -> the meter at the beginning and, once it has ended, at the end of its use."""
    began: dict[str, float] = field(default_factory=dict)
    """Attempt -> the meter when its command began; later than its use for the first, which pays for provisioning."""
    taken_s: float | None = None
    """The meter at which the provider will take it away."""
    taken_silently: bool = False
    closed_s: float | None = None
    unreadable: bool = False
    """A power cut took what was written of it: nothing begins on it any more, and nobody can say what its meter was.
    Never written itself."""

    @property
    def running(self) -> list[str]:
        """The attempts that have begun on it and not ended."""
        return [attempt_id for attempt_id, readings in self.uses.items() if len(readings) == 1]

    @property
    def over(self) -> bool:
        """Whether it is gone for good."""
        return self.closed_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineBook:
    """All machines under a directory."""

    directory: Path
    time_scale: float = 1.0
    """Real seconds that one of provisioning takes; at 0 a machine is there at once, with all of it on the meter."""
    clock: Callable[[], float] = time.time
    """Unix time now."""

    def open(
        self,
        machine: Machine,
        *,
        taken_s: float | None = None,
        taken_silently: bool = False,
        quota_gpus: int | None = None,
    ) -> MachineReport:
        """Open a machine unless it was, and say how far it is; StartFailed above the quota of its pool."""
        pool = f"{machine.provider}/{machine.region}/{machine.gpu_type}"
        with self._quota_lock(quota_gpus), self._held(machine.key) as found:
            now = self.clock()
            if found is not None:
                return self._report(self._write(self._aged(found, now)), now)
            if quota_gpus is not None and self._rented(pool, machine.key) + machine.tariff.gpu_count > quota_gpus:
                raise StartFailed(f"simulated: the provider's quota of {quota_gpus} GPUs of this type is used up")
            self._mark(machine.key)
            opened = Entry(
                key=machine.key, opened_at=now, read_at=now, provision_s=machine.provision_s, taken_s=taken_s,
                taken_silently=taken_silently, gpu_count=machine.tariff.gpu_count, pool=pool,
            )  # fmt: skip
            return self._report(self._write(opened), now)

    def begin(
        self, key: str, attempt_id: str, *, shares: bool = False, most_s: Callable[[str], float] = lambda _: math.inf
    ) -> Entry:
        """Let an attempt begin on a machine, once; StartFailed where it is gone, or another's that does not share it.

        The meter of the entry is the reading at which it began. `most_s` says how long another that runs there can use
        the machine at most: where time is virtual, more of it than that cannot have passed.
        """
        with self._held(key) as found:
            now = self.clock()
            entry = None if found is None else self._aged(found, now)
            if entry is None or entry.over or len(entry.uses.get(attempt_id, ())) == 2:
                raise StartFailed("its machine is gone")
            running = entry.running
            if attempt_id in running:
                return replace(entry, metered_s=_began_s(entry, attempt_id))
            if running and not (shares and entry.shared):
                raise StartFailed("its machine is busy with another attempt")
            metered_s = self._meter(entry, now)
            if metered_s < entry.provision_s:
                raise StartFailed("its machine is not ready")
            if running and self.time_scale > 0:
                latest_s = max(_began_s(entry, one) + most_s(one) for one in running)
                passed_s = max(0.0, now - entry.read_at) / self.time_scale
                metered_s = max(metered_s, min(metered_s + passed_s, latest_s))
            # the first use pays for the provisioning
            uses = {**entry.uses, attempt_id: [metered_s if entry.uses else 0.0]}
            began = {one: entry.began.get(one, entry.metered_s) for one in running} | {attempt_id: metered_s}
            return self._write(replace(entry, uses=uses, began=began, shared=shares, metered_s=metered_s, read_at=now))

    def began_s(self, key: str, attempt_id: str) -> float | None:
        """The meter when an attempt began on a machine; None where it did not."""
        entry = self._read(key)
        return None if entry is None or attempt_id not in entry.uses else entry.uses[attempt_id][0]

    def end(self, key: str, attempt_id: str, *, used_s: float, ended_at: float) -> tuple[Meter, bool] | None:
        """An attempt has ended after so many machine seconds: the meter around its use, and whether the machine went
        with it; None where it never began there."""
        with self._held(key) as found:
            if found is None or attempt_id not in found.uses:
                return None
            entry = found
            if attempt_id in found.running:
                entry = self._write(_ended(found, attempt_id, used_s, min(ended_at, self.clock())))
            from_s, to_s = entry.uses[attempt_id]
            return Meter(from_s=from_s, to_s=to_s), entry.over and to_s >= (entry.closed_s or 0.0)

    def close(self, key: str, *, used_s: Mapping[str, float] | None = None) -> MachineReport:
        """Close a machine for good, with what those that still run on it have used of it on the meter."""
        with self._held(key) as found:
            now = self.clock()
            if found is None:  # an order that comes after this finds it closed
                self._write(Entry(key=key, opened_at=now, read_at=now, provision_s=0.0, closed_s=0.0))
                return MachineReport(key=key, phase=MachinePhase.GONE, metered_s=None)
            entry = self._aged(found, now)
            if entry.unreadable:
                self._unmark(key)
            elif not entry.over:
                running = entry.running
                for attempt_id in running:
                    entry = _ended(entry, attempt_id, (used_s or {}).get(attempt_id, 0.0), now)
                closed_s = entry.metered_s if running else self._meter(entry, now)
                entry = replace(entry, closed_s=closed_s, metered_s=closed_s, read_at=now)
            return self._report(self._write(entry), now)

    def running(self, key: str) -> list[str] | None:
        """The attempts that have begun on a machine and not ended; None where nobody can say any more."""
        entry = self._read(key)
        return [] if entry is None else None if entry.unreadable else entry.running

    def live(self) -> list[MachineReport]:
        """Every machine that is not gone."""
        return [self._report(entry, self.clock()) for entry in self._live()]

    def entries(self) -> Iterator[Entry]:
        """Every machine that is remembered, gone or not, as it was last touched."""
        for folder in sorted(self.directory.iterdir()) if self.directory.is_dir() else ():
            if folder.name != _LIVE and (entry := self._read(folder.name)) is not None:
                yield entry

    def forget(self) -> None:
        """Drop those that were closed long ago."""
        for entry in list(self.entries()):
            if entry.over and self.clock() - entry.read_at > _KEPT_S:
                shutil.rmtree(self.directory / entry.key, ignore_errors=True)

    def _live(self, but: str | None = None) -> Iterator[Entry]:
        """Those that are marked as live, as they are now; what the provider has taken in the meantime is closed."""
        markers = self.directory / _LIVE
        for marker in sorted(markers.iterdir()) if markers.is_dir() else ():
            if marker.name == but:
                continue
            with self._held(marker.name) as found:
                if found is None:
                    continue  # it is being opened
                entry = self._aged(found, self.clock())
                if entry != found:
                    self._write(entry)
            if not entry.over or entry.unreadable:  # there until it is given back: what is not listed has vanished
                yield entry

    def _rented(self, pool: str, opening: str) -> int:
        """GPUs of a pool beside the machine that is being opened: who opens it holds it, and would wait for itself, as
        it may be marked already by somebody who died before writing it down."""
        return sum(entry.gpu_count for entry in self._live(but=opening) if entry.pool == pool)

    def _mark(self, key: str) -> None:
        """Found without looking through all that is gone."""
        (self.directory / _LIVE).mkdir(exist_ok=True)
        (self.directory / _LIVE / key).touch()

    def _unmark(self, key: str) -> None:
        (self.directory / _LIVE / key).unlink(missing_ok=True)

    def _meter(self, entry: Entry, now: float) -> float:
        if entry.over:
            return entry.metered_s
        if entry.running:  # the next reading comes with the end of one of them
            return entry.metered_s
        if entry.uses:
            return entry.metered_s + max(0.0, now - entry.read_at)
        waited_s, provision_s = max(0.0, now - entry.opened_at), entry.provision_s * self.time_scale
        if waited_s >= provision_s:
            return entry.provision_s + waited_s - provision_s
        return waited_s / self.time_scale

    def _aged(self, entry: Entry, now: float) -> Entry:
        """As it is now: an idle machine whose time has come is gone."""
        if entry.over or entry.taken_s is None or entry.running:
            return entry
        if self._meter(entry, now) < entry.taken_s:
            return entry
        end_s = max(entry.taken_s, entry.metered_s)
        return replace(entry, closed_s=end_s, metered_s=end_s, read_at=now)

    def _report(self, entry: Entry, now: float) -> MachineReport:
        if entry.unreadable:
            return MachineReport(key=entry.key, phase=MachinePhase.GONE, metered_s=None)
        if entry.closed_s is not None:
            return MachineReport(key=entry.key, phase=MachinePhase.GONE, metered_s=entry.closed_s)
        metered_s = self._meter(entry, now)
        come = bool(entry.uses) or metered_s >= entry.provision_s
        return MachineReport(
            key=entry.key, phase=MachinePhase.READY if come else MachinePhase.COMING, metered_s=metered_s
        )

    def _read(self, key: str) -> Entry | None:
        path = self.directory / key / _NAME
        try:
            body: dict[str, Any] | None = read_json(path)
        except ValueError:
            lost_at = path.stat().st_mtime
            return Entry(key=key, opened_at=lost_at, read_at=lost_at, provision_s=0.0, closed_s=0.0, unreadable=True)
        if body is None:
            return None
        body.pop("attempt_id", None)  # in books from before machines were shared; the uses say as much
        return Entry(**body)

    def _write(self, entry: Entry) -> Entry:
        if entry.unreadable:
            return entry
        body = asdict(entry)
        del body["unreadable"]  # workers of an earlier version know of no such thing
        write_json(self.directory / entry.key / _NAME, body, durable=False)
        if entry.over:
            self._unmark(entry.key)
        return entry

    @contextmanager
    def _held(self, key: str) -> Iterator[Entry | None]:
        folder = self.directory / key
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            yield self._read(key)

    @contextmanager
    def _quota_lock(self, quota_gpus: int | None) -> Iterator[None]:
        if quota_gpus is None:
            yield
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        with _locked(self.directory):
            yield


def _ended(entry: Entry, attempt_id: str, used_s: float, ended_at: float) -> Entry:
    """One fewer on it; idle with the last, or gone, if the provider takes it by then."""
    to_s = _began_s(entry, attempt_id) + used_s
    over = entry.taken_s is not None and to_s >= entry.taken_s
    uses = {**entry.uses, attempt_id: [*entry.uses[attempt_id], to_s]}
    metered_s, read_at = max(entry.metered_s, to_s), ended_at
    if to_s < entry.metered_s and len(entry.running) > 1:
        read_at = entry.read_at
    closed_s = entry.closed_s if entry.over else metered_s if over else None
    return replace(entry, metered_s=metered_s, read_at=read_at, uses=uses, closed_s=closed_s)


def _began_s(entry: Entry, attempt_id: str) -> float:
    # books from before machines were shared have one reading alone, that of the beginning
    return entry.began.get(attempt_id, entry.metered_s)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
