"""A real Slurm cluster of this machine alone: munge, slurmctld, four slurmd, slurmdbd on a MariaDB, all in one folder.

Its GPUs are lines of `gres.conf` that point at devices every Linux has; Slurm counts them, hands them out and sets
CUDA_VISIBLE_DEVICES as it does for real ones.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "sbatch", "squeue", "sacct", "munged")
FOR_ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
_GPUS = {"n1": ("a100", 4), "n2": ("h100", 4), "n3": ("l40s", 2), "n4": ("l40s", 2)}
"""Nodes, with the GPUs of each."""
_PATIENCE_S = 30.0


def missing() -> str | None:
    """Why no cluster can be run here; None where one can."""
    lacking = [name for name in (*NEEDED, *FOR_ACCOUNTING) if shutil.which(name, path=_path()) is None]
    if lacking:
        return (
            f"no Slurm cluster here: {', '.join(lacking)} not found (Debian: slurm-wlm slurmdbd munge mariadb-server)"
        )
    return None if os.geteuid() == 0 else "no Slurm cluster here: slurmd runs jobs only as root"


@dataclass
class Cluster:
    """A running cluster, and what may happen to it."""

    folder: Path
    ports: Mapping[str, int]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What makes Slurm's commands speak to this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def command(self, *words: str) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run(
            words, env=os.environ | self.environment | {"PATH": _path()}, capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def start(self, *names: str) -> None:
        """Start services, or start them again."""
        for name in names:
            with (self.folder / f"{name}.out").open("ab") as output:
                self.running[name] = subprocess.Popen(
                    _COMMANDS[name](self), env=os.environ | self.environment | {"PATH": _path()},
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                )  # fmt: skip

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a service: after SIGTERM with its state saved, after SIGKILL as a power cut would."""
        service = self.running.pop(name)
        service.send_signal(number)
        service.wait(_PATIENCE_S)

    def resume(self, node: str) -> None:
        """Bring a node back; it may come by itself."""

        def back() -> bool:
            subprocess.run(
                ["scontrol", "update", f"nodename={node}", "state=resume"], env=os.environ | self.environment,
                capture_output=True, timeout=30, check=False,
            )  # fmt: skip
            return self.up()

        self.wait(back)

    def stop(self) -> None:
        """End everything, jobs included."""
        for name in ("slurmctld", *_GPUS, "slurmdbd", "mariadb", "munge"):
            service = self.running.pop(name, None)
            if service is not None:
                service.terminate()
                try:
                    service.wait(3)
                except subprocess.TimeoutExpired:
                    service.kill()
                    service.wait()

    def up(self) -> bool:
        """Whether all nodes take jobs."""
        done = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], env=os.environ | self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode == 0 and set(done.stdout.split()) <= {"idle", "mixed", "allocated"}

    def until_up(self) -> None:
        """Wait until the cluster takes jobs."""
        self.wait(self.up)

    def wait(self, happened: Callable[[], object]) -> None:
        """Wait for something of the cluster, and tell what its services said where it does not happen."""
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            if time.monotonic() > deadline:
                said = "\n".join(f"== {log}\n{log.read_text(errors='replace')[-1500:]}" for log in self._logs())
                raise AssertionError(f"the cluster does not come up:\n{said}")
            time.sleep(0.1)

    def _logs(self) -> list[Path]:
        return sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster of two nodes with four GPUs each and two with two, ended with all that runs on it."""
    with ExitStack() as sockets:
        ports = {name: _free_port(sockets) for name in ("slurmctld", "slurmdbd", "mariadb", *_GPUS)}
    cluster = Cluster(folder, ports)
    _write_configuration(cluster)
    try:
        cluster.start("munge", "mariadb")
        cluster.wait((folder / "munge.socket").exists)
        cluster.wait(lambda: _answers(ports["mariadb"]))
        cluster.start("slurmdbd")
        cluster.wait(lambda: _answers(ports["slurmdbd"]))
        subprocess.run(
            ["sacctmgr", "--immediate", "add", "cluster", "pythia"], env=os.environ | cluster.environment,
            capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        cluster.start("slurmctld", *_GPUS)
        cluster.until_up()
        yield cluster
    finally:
        subprocess.run(
            ["scancel", "--user=root"], env=os.environ | cluster.environment, capture_output=True, timeout=30,
            check=False,
        )  # fmt: skip
        cluster.stop()


def _write_configuration(cluster: Cluster) -> None:
    folder, ports, host = cluster.folder, cluster.ports, socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in ("state", *(f"spool-{node}" for node in _GPUS)):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]} CPUs=8 RealMemory=4000 "
        f"Gres=gpu:{gpu}:{count} State=UNKNOWN"
        for node, (gpu, count) in _GPUS.items()
    )
    (folder / "slurm.conf").write_text(f"""
ClusterName=pythia
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports["slurmctld"]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports["slurmdbd"]}
AccountingStoragePass={folder}/munge.socket
MpiDefault=none
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment,job_env,job_script
KillWait=2
ReturnToService=2
SlurmdTimeout=60
MessageTimeout=2
GresTypes=gpu
{nodes}
PartitionName=gpu Nodes=n1,n2 Default=YES MaxTime=2:00:00 State=UP PriorityTier=1
PartitionName=wide Nodes=n3,n4 MaxTime=2:00:00 State=UP
PartitionName=urgent Nodes=n1,n2 MaxTime=2:00:00 State=UP PriorityTier=9
""")
    (folder / "gres.conf").write_text(
        "".join(
            f"NodeName={node} Name=gpu Type={gpu} File={device}\n"
            for node, (gpu, count) in _GPUS.items()
            for device in _DEVICES[:count]
        )
    )
    dbd = folder / "slurmdbd.conf"
    dbd.write_text(f"""
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports["slurmdbd"]}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports["mariadb"]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
""")
    dbd.chmod(0o600)  # slurmdbd refuses a password that others may read
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/mariadb", "--user=root", "--skip-test-db",
         "--auth-root-authentication-method=normal"],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    (folder / "init.sql").write_text(
        "CREATE DATABASE slurm;\nCREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';\n"
        "GRANT ALL ON slurm.* TO 'slurm'@'127.0.0.1';\n"
    )


_COMMANDS: Mapping[str, Callable[[Cluster], list[str]]] = {
    "munge": lambda cluster: [
        "munged", "--foreground", "--force", f"--socket={cluster.folder}/munge.socket",
        f"--key-file={cluster.folder}/munge.key", f"--log-file={cluster.folder}/munge.log",
        f"--pid-file={cluster.folder}/munge.pid", f"--seed-file={cluster.folder}/munge.seed",
    ],
    "mariadb": lambda cluster: [
        "mariadbd", "--no-defaults", "--user=root", f"--datadir={cluster.folder}/mariadb",
        f"--socket={cluster.folder}/mariadb.socket", f"--port={cluster.ports['mariadb']}", "--bind-address=127.0.0.1",
        f"--pid-file={cluster.folder}/mariadb.pid", f"--init-file={cluster.folder}/init.sql",
        "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M",
        "--innodb-doublewrite=0", "--skip-log-bin", "--skip-name-resolve",
    ],
    "slurmdbd": lambda cluster: ["slurmdbd", "-D"],
    "slurmctld": lambda cluster: ["slurmctld", "-D", "-f", f"{cluster.folder}/slurm.conf"],
    "n1": lambda cluster: _slurmd(cluster, "n1"),
    "n2": lambda cluster: _slurmd(cluster, "n2"),
    "n3": lambda cluster: _slurmd(cluster, "n3"),
    "n4": lambda cluster: _slurmd(cluster, "n4"),
}  # fmt: skip


def _slurmd(cluster: Cluster, node: str) -> list[str]:
    return ["slurmd", "-D", "-N", node, "-f", f"{cluster.folder}/slurm.conf"]


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _free_port(stack: ExitStack) -> int:
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) == 0
