"""Stand in for a cloud: machines come after a while and are billed by the second, but memory and time are drawn.

The same command really runs on this host unless it is asked to be left; either way whatever is reported is marked
simulated for good. As providers do, it can be slow, fail, refuse, run out of quota and take machines away: see
`Faults`. Whatever is drawn of a job, an attempt or a machine is fixed by the seed; whether a single call fails is not,
or no call that failed could ever succeed.
"""

from __future__ import annotations

import math
import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.machines import Machine
from scheduler.settings import Faults
from workers.backends import drawn
from workers.backends.base import Handle, MachineReport, Phase, ProviderUnavailable, Report, StartFailed
from workers.backends.book import Entry, MachineBook
from workers.backends.draw import NothingToDraw, draw_share, draw_truth
from workers.backends.handed_over import HandedOver
from workers.backends.local import basic_order
from workers.backends.supervised import Supervised, nothing, report_of
from workers.backends.this_host import this_host
from workers.supervision.order import Order, read_order
from workers.supervision.status import RunState, read_status
from workers.supervision.stopped import Stopped

_LONGEST_LATENCY = 5.0
"""Means; a call that takes longer than that would be given up by any client."""
NO_FAULTS = Faults()


@dataclass(frozen=True, kw_only=True)
class Simulated(Supervised):
    """A provider whose machines are folders, and whose runs are commands of this host or none at all."""

    seed: int
    faults: Faults
    dice: random.Random = field(default_factory=random.Random)

    def provision(self, machine: Machine) -> MachineReport:
        """Order a machine; its fate is drawn with it."""
        self._call()
        if draw_share(f"{self.seed}/{machine.key}", "refused") < self.faults.refusal_share:
            self.book.close(machine.key)
            raise StartFailed("simulated: the provider has no such machine after all")
        taken_s, silently = fate(self.seed, machine.key, self.faults, spot=machine.spot)
        return self.book.open(machine, taken_s=taken_s, taken_silently=silently, quota_gpus=self.faults.quota_gpus)

    def start(self, work: AttemptWork) -> Handle:
        """Start a command, or what stands in for one."""
        self._call()
        return super().start(work)

    def _begin(self, folder: Path, order: Order, handed: HandedOver) -> None:
        if order.left:
            drawn.begin(folder, order)
        else:
            super()._begin(folder, order, handed)

    def poll(self, handle: Handle) -> Report:
        """What is known of a run; time alone moves those without a command."""
        self._call()
        folder, order = Path(handle["folder"]), _left(handle)
        status = None if order is None else read_status(folder)
        if order is None or status is None:
            return super().poll(handle)
        status = drawn.look(folder, order, status)
        return self._metered(folder, status, replace(report_of(status, Phase(status.state)), command_ran=False))

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """End a run, or forbid it."""
        self._call()
        folder, order = Path(handle["folder"]), _left(handle)
        status = None if order is None else read_status(folder)
        if order is None or status is None:
            super().stop(handle, hard=hard)
        elif status.state is not RunState.ENDED:
            drawn.look(folder, order, status, stopped=Stopped.ASKED)

    def release(self, key: str) -> MachineReport:
        """Give a machine back."""
        self._call()
        return super().release(key)

    def list(self) -> Sequence[MachineReport]:
        """Every machine that is rented."""
        self._call()
        return super().list()

    def _call(self) -> None:
        """What any call to a provider may meet: it takes a while, or fails."""
        if self.faults.latency_s > 0:
            time.sleep(min(self.dice.expovariate(1.0), _LONGEST_LATENCY) * self.faults.latency_s)
        if self.dice.random() < self.faults.error_share:
            raise ProviderUnavailable("simulated: the provider answered 503")


def simulated_backend(
    data_path: Path,
    *,
    log_cap_bytes: int,
    seed: int,
    time_scale: float,
    run_commands: bool = True,
    faults: Faults = NO_FAULTS,
    host: str | None = None,
    hand_over: Callable[[AttemptWork], HandedOver] = nothing,
) -> Simulated:
    """A provider that is drawn from a seed; its second takes `time_scale` of ours."""
    this = this_host(data_path, host or socket.gethostname())
    directory = data_path / "attempts" / "simulated"

    def order(work: AttemptWork, entry: Entry | None) -> Order:
        try:
            truth = draw_truth(work, seed=seed, time_scale=time_scale, others_gib=held_gib(directory, work, entry))
        except NothingToDraw as reason:
            raise StartFailed(str(reason)) from reason
        if entry is not None and entry.taken_s is not None:
            left_s = max(0.0, entry.taken_s - entry.metered_s)
            truth = replace(truth, taken_s=left_s, taken_silently=entry.taken_silently)
        told = None if work.spec.simulation is None else work.spec.simulation.run_command
        runs = run_commands if told is None else told
        return replace(basic_order(work, log_cap_bytes=log_cap_bytes), truth=truth, left=not runs)

    return Simulated(
        directory=directory,
        make_order=order,
        book=MachineBook(directory=data_path / "machines" / "simulated", time_scale=time_scale),
        account=this.account(directory),
        host=this.name,
        host_id=this.id,
        hand_over=hand_over,
        simulated=True,
        seed=seed,
        faults=faults,
    )


def held_gib(directory: Path, work: AttemptWork, entry: Entry | None) -> float:
    """What those who run on the same card need of it, by what was drawn for them."""
    running = [] if entry is None else [one for one in entry.running if one != str(work.attempt_id)]
    truths = [order.truth for one in running if (order := read_order(directory / one)) is not None]
    return sum(truth.peak_vram_gib or 0.0 for truth in truths if truth is not None)


def fate(seed: int, key: str, faults: Faults, *, spot: bool) -> tuple[float | None, bool]:
    """The second of its life at which a machine will be taken away, and whether without a word; None: never.

    Both ways are Poisson processes, so the first of either is exponential with the sum of their rates.
    """
    asked = faults.preemptions_per_hour if spot else 0.0
    rate = asked + faults.vanishings_per_hour
    if rate <= 0:
        return None, False
    after_s = -math.log(draw_share(f"{seed}/{key}", "taken")) * 3600 / rate
    return after_s, draw_share(f"{seed}/{key}", "silently") * rate >= asked


def _left(handle: Handle) -> Order | None:
    """The order of a run whose command is left; None for any other."""
    order = read_order(Path(handle["folder"]))
    return order if order is not None and order.left else None
