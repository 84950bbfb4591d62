"""One command on several nodes of one Slurm job, once on each: all of them begin, and the first that fails ends all.

The supervisor on the first node has `srun` start one more on every node (`workers.slurm_node`), each in a directory of
its own below the attempt's. It ends them through files in these, not through `srun`, which knows no grace; what they
print comes back through `srun`, every line with the number of its node; what they measured is read from their statuses.
Secrets do not pass through Slurm: each supervisor asks for them, as the first one did (`sealed`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workers.backends.slurm.files import NODES, Request
from workers.backends.slurm.nodes import LAST_WORDS_S, Nodes
from workers.supervision.command import KEPT_VARIABLES, Command, Exit, is_of_batch_system, working_dir
from workers.supervision.gpus import NoGpus
from workers.supervision.memory import MemoryProbe
from workers.supervision.order import Order
from workers.supervision.status import Status
from workers.supervision.stopped import OutOfMemory, Stopped
from workers.supervision.watch import GRACEFUL, HARD, NOT_TOLD, Supervisor

_FIRST_PORT, _PORTS = 20_000, 10_000
"""Below those that systems give to whoever asks for any."""
_LETTING_GO_S = 10.0
"""After it was told to end its commands at once, a supervisor of a node that does not is left to Slurm."""


class Gang(Supervisor):
    """The supervisor on the first node."""

    def __init__(
        self, folder: Path, order: Order, status: Status, told: Mapping[str, Any] = NOT_TOLD, *, request: Request
    ) -> None:
        """The order's GPUs are those of all nodes together."""
        # each node hands out its own; the command here is `srun`, which needs none
        super().__init__(folder, replace(order, gpu_count=0), status, told)
        self._whole, self._request = order, request
        self._nodes = Nodes(folder / NODES, request.nodes, self._secrets)
        self._why: str | None = None

    def _begin(self) -> tuple[Command, MemoryProbe]:
        hosts = _host_names()
        if len(hosts) != self._request.nodes or shutil.which("srun", path=_path()) is None:
            raise NoGpus("srun and scontrol do not work on the first node")
        where = working_dir(self._order, self._folder)
        self._nodes.prepare(orders_of(self._whole, hosts, where, port=_port()), hosts)
        order = replace(self._order, command=self._srun(), working_dir=str(where))
        return Spread(order, self._folder, _environment(), hide=self._secrets.values(), nodes=self._nodes), self._nodes

    def _srun(self) -> tuple[str, ...]:
        count, gres = self._request.nodes, self._request.gres
        return (
            "srun", f"--nodes={count}", f"--ntasks={count}", "--ntasks-per-node=1", "--distribution=block",
            *([] if gres is None else [f"--gres={gres}"]), "--mem=0", "--cpu-bind=none",  # all that the job has there
            "--label", "--input=none", "--export=ALL", f"--chdir={self._folder}",
            "--kill-on-bad-exit=1",  # of a supervisor, which never fails: something has killed it
            "--wait=0",  # one node may be done long before another
            sys.executable, "-P", "-m", "workers.slurm_node", str(self._folder / NODES),
        )  # fmt: skip

    def _watch(self, command: Command, probe: MemoryProbe) -> tuple[Stopped | None, Exit]:
        stopped, exited = super()._watch(command, probe)
        # where `srun` failed, some were killed with their last words unsaid
        self._nodes.settle(patience_s=LAST_WORDS_S if exited.code == 0 else 0.0)
        first = self._nodes.first_failure()
        if stopped is not None:
            return stopped, exited
        if first is None:
            return self._without_a_culprit(command, exited), exited
        self._why = first.why
        code = exited.code if first.status.exit_code is None else first.status.exit_code
        return first.status.stopped, replace(exited, code=code, signal=first.status.signal)

    def _without_a_culprit(self, command: Command, exited: Exit) -> Stopped | None:
        silent = self._nodes.silent()
        if not silent or any(command.said()):
            return None  # all is well, or Slurm says that a node's memory was not enough
        self._why = f"srun ended with exit code {exited.code}, and nothing was heard from {', '.join(silent)}"
        return Stopped.HOST

    def _ran_out(self, command: Command, probe: MemoryProbe, exited: Exit) -> OutOfMemory | None:
        first = self._nodes.first_failure()
        if first is not None:
            return first.status.out_of_memory
        return super()._ran_out(command, probe, exited)

    def _end(self, **facts: Any) -> Status:
        self._note(**self._nodes.peaks())
        if self._why is not None and facts.get("failure") is None:
            facts["failure"] = self._why
        return super()._end(**facts)


class Spread(Command):
    """`srun`, which is asked to end by asking what it started."""

    def __init__(
        self, order: Order, folder: Path, env: dict[str, str], *, hide: Iterable[str] = (), nodes: Nodes
    ) -> None:
        super().__init__(order, folder, env, hide=hide)
        self._nodes, self._grace_s = nodes, order.grace_s
        self._told_hard_at: float | None = None

    def wait(self, seconds: float) -> None:
        """Wait for output, and no longer than that for those that do not hear that another has failed."""
        if self._nodes.overdue(self._grace_s + LAST_WORDS_S):
            self.make_end()
        super().wait(seconds)

    def ask_to_end(self) -> None:
        """Have every node's command asked."""
        self._nodes.tell(GRACEFUL)

    def make_end(self) -> None:
        """Have every node's command ended; then let `srun` go as well, and Slurm ends what is left of the job."""
        now = time.monotonic()
        if self._told_hard_at is None:
            self._told_hard_at = now
            self._nodes.tell(HARD)
        elif now - self._told_hard_at > _LETTING_GO_S:
            super().make_end()


def orders_of(order: Order, hosts: list[str], where: Path, *, port: int) -> list[Order]:
    """The command on each node. It finds the others by the names that launchers of training read, which its spec may
    set otherwise, and by ours, which it may not."""
    gpus = order.gpu_count // len(hosts)
    orders = []
    for rank in range(len(hosts)):
        place = {"MASTER_ADDR": hosts[0], "MASTER_PORT": str(port), "NNODES": str(len(hosts)), "NODE_RANK": str(rank)}
        of_torchrun = {f"PET_{name}": value for name, value in (*place.items(), ("NPROC_PER_NODE", str(gpus)))}
        ours = {
            "PYTHIA_NODES": "\n".join(hosts), "PYTHIA_NODE_COUNT": str(len(hosts)), "PYTHIA_NODE_RANK": str(rank),
            "PYTHIA_GPUS_PER_NODE": str(gpus),
        }  # fmt: skip
        orders.append(
            replace(
                order,
                env={**place, **of_torchrun, **order.env, **ours},
                gpu_count=gpus,
                working_dir=str(where),
                max_runtime_s=None,  # the first node's supervisor counts
            )
        )
    return orders


def _host_names() -> list[str]:
    words = ["scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")]
    try:
        done = subprocess.run(words, env=_environment(), capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.decode(errors="replace").split() if done.returncode == 0 else []


def _port() -> int:
    """The same for nobody else on these nodes, as likely as not: jobs are numbered one after the other."""
    return _FIRST_PORT + int(os.environ["SLURM_JOB_ID"]) % _PORTS


def _path() -> str:
    return os.environ.get("PATH", os.defpath)


def _environment() -> dict[str, str]:
    """What `srun` hands on to the supervisors: nothing of the job's spec, and no secret."""
    kept = (*KEPT_VARIABLES, "PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if name in kept or is_of_batch_system(name)}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **inherited}
