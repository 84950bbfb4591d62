"""Run the pods of a `FakeCluster` as processes of this host, as the kubelet of a node would.

What runs before the command runs first; then sidecars, each until it says that it has started; then the command. When
it has ended, sidecars are told to end, and the pod has once they have. Volumes are folders, so the paths at which they
are mounted are replaced where they stand in a container's command; the image of every container is this host.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_objects import Object

_PACKAGES = Path(__file__).resolve().parents[2]


@dataclass
class _Container:
    process: subprocess.Popen[bytes]
    message: Path
    reader: threading.Thread | None = None
    told: bool = False

    def ended(self) -> bool:
        """Whether it has, and all that it printed is read."""
        return self.process.poll() is not None and not (self.reader and self.reader.is_alive())

    @property
    def exit_code(self) -> int:
        code = self.process.returncode
        return code if code >= 0 else 128 - code

    def last_word(self) -> str | None:
        return self.message.read_text()[:4096] or None

    def tell(self) -> None:
        """SIGTERM, once."""
        if not self.told:
            self.told = True
            self.process.terminate()


@dataclass
class Kubelet:
    """Starts what is pending, ends what is deleted, and writes down how each ended."""

    cluster: FakeCluster
    folder: Path
    containers: dict[str, dict[str, _Container]] = field(default_factory=dict)
    """By pod and name."""
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        while not self.over.wait(0.02):
            with self.cluster.lock:
                self.cluster.control()
                for pod in list(self.cluster.pods.values()):
                    self._see_to(pod)
                for name in self.containers.keys() - self.cluster.pods.keys():
                    self._end(name)

    def _see_to(self, pod: Object) -> None:
        name, job = pod["metadata"]["name"], pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            return
        here = self.containers.setdefault(name, {})
        before, sidecar = _parts(pod)
        ends_at = pod["metadata"].get("deletionTimestamp")
        if ends_at is not None and self.cluster.now() >= datetime.fromisoformat(ends_at):
            for container in here.values():
                container.process.kill()
        if before is not None and not self._runs_before(pod, job, here, before, leaves=ends_at is not None):
            return
        if "main" not in here:
            if ends_at is None and (sidecar is None or self._has_started(pod, here, sidecar)):
                self._start(pod, job, here)
            return
        main = here["main"]
        if not main.ended():
            if ends_at is not None:
                main.tell()
            return
        if "running" in pod["status"]["containerStatuses"][0]["state"]:
            self.cluster.ends(job, main.exit_code, message=main.last_word())
        if sidecar is not None:
            here[sidecar["name"]].tell()
            if here[sidecar["name"]].ended():
                self.cluster.sidecar_ends(job, here[sidecar["name"]].exit_code, here[sidecar["name"]].last_word())

    def _runs_before(self, pod: Object, job: str, here: dict[str, _Container], spec: Object, *, leaves: bool) -> bool:
        """Whether what comes before the command is done."""
        container = here.get(spec["name"])
        if container is None:
            here[spec["name"]] = self._begin(pod, spec)
            self.cluster.preparing(job)
            return False
        if leaves:
            container.tell()
        if not container.ended():
            return False
        state = next(one["state"] for one in pod["status"]["initContainerStatuses"] if one["name"] == spec["name"])
        if "running" in state:
            self.cluster.prepared(job, container.exit_code, container.last_word())
        return container.exit_code == 0

    def _has_started(self, pod: Object, here: dict[str, _Container], spec: Object) -> bool:
        if spec["name"] not in here:
            here[spec["name"]] = self._begin(pod, spec)
        probe = spec["startupProbe"]["exec"]["command"]
        return subprocess.run([self._on_host(pod, spec, part) for part in probe], check=False).returncode == 0

    def _start(self, pod: Object, job: str, here: dict[str, _Container]) -> None:
        self.cluster.running(job)
        if pod["status"]["phase"] != "Running":
            return
        container = here["main"] = self._begin(pod, pod["spec"]["containers"][0])
        container.reader = threading.Thread(target=self._read, args=(container.process, job))
        container.reader.start()

    def _begin(self, pod: Object, spec: Object) -> _Container:
        message = self._own(pod) / f"{spec['name']}.message"
        message.touch()
        variables: dict[str, str] = {}
        for one in spec["env"]:
            if "value" in one:
                variables[one["name"]] = expand(one["value"], variables)
            else:
                variables[one["name"]] = self.cluster.read(one["valueFrom"]["secretKeyRef"]) or ""
        if "PYTHIA_REPORT_FILE" in variables:
            variables["PYTHIA_REPORT_FILE"] = str(message)  # its own path lies outside of any container here
        process = subprocess.Popen(
            [self._on_host(pod, spec, expand(part, variables)) for part in spec["command"]],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(_PACKAGES), **variables},
            cwd=self._working_dir(pod, spec),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if spec["name"] == "main" else None,
            stderr=subprocess.STDOUT if spec["name"] == "main" else None,
        )
        return _Container(process, message)

    def _working_dir(self, pod: Object, spec: Object) -> Path:
        where = Path(self._on_host(pod, spec, spec.get("workingDir") or ""))
        return where if str(where).startswith(str(self.folder)) else self.folder

    def _on_host(self, pod: Object, spec: Object, text: str) -> str:
        """A word of a container's command, where things are here."""
        if text == "python":
            return sys.executable
        if text == spec["terminationMessagePath"]:
            return str(self._own(pod) / f"{spec['name']}.message")
        for mount in spec["volumeMounts"]:
            path = mount["mountPath"]
            if text == path or text.startswith(f"{path}/"):
                return str(self._volume(pod, mount["name"])) + text.removeprefix(path)
        # what else a container has of its own
        return str(self._own(pod) / Path(text).name) if text.startswith("/tmp/pythia-") else text

    def _volume(self, pod: Object, name: str) -> Path:
        folder = self._own(pod) / f"volume-{name}"
        if not folder.exists():
            folder.mkdir()
            (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == name]
            for item in volume.get("secret", {}).get("items", ()):
                data = self.cluster.secrets.get(volume["secret"]["secretName"])["data"][item["key"]]
                (folder / item["path"]).write_bytes(base64.b64decode(data))
        return folder

    def _own(self, pod: Object) -> Path:
        folder = self.folder / str(pod["metadata"]["name"])
        folder.mkdir(exist_ok=True)
        return folder

    def _read(self, process: subprocess.Popen[bytes], job: str) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self.cluster.lock:
                if self.cluster.pods_of(job):
                    self.cluster.prints(job, line)

    def _end(self, name: str) -> None:
        for container in self.containers.pop(name).values():
            container.process.kill()
            container.process.wait()


def _parts(pod: Object) -> tuple[Object | None, Object | None]:
    """What runs before the command, and what runs beside it."""
    more = pod["spec"].get("initContainers", [])
    before = next((one for one in more if "restartPolicy" not in one), None)
    return before, next((one for one in more if "restartPolicy" in one), None)


@contextmanager
def kubelet(cluster: FakeCluster) -> Iterator[Kubelet]:
    """A node that runs everything at once; nothing of it is left behind."""
    with tempfile.TemporaryDirectory() as folder:
        made = Kubelet(cluster, Path(folder))
        thread = threading.Thread(target=made.work)
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            thread.join()
            for container in [one for all_of_it in made.containers.values() for one in all_of_it.values()]:
                container.process.kill()
                container.process.wait()
                if container.reader is not None:
                    container.reader.join()


def expand(text: str, variables: dict[str, str]) -> str:
    """What the kubelet makes of a command or a value: `$(NAME)` is replaced where it is known, `$$` is a dollar."""

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0]) if found[1] is not None else found[0]

    return re.sub(r"\$(?:\$|\(([^()]*)\))", replaced, text)
