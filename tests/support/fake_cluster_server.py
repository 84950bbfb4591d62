"""The API server of a `FakeCluster` over HTTP, at the real paths, with bad days when a test wants them."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support.bad_days import TOKEN, Answers, BadDays, answering
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_objects import Object
from tests.support.fake_secrets import Refused


@dataclass
class FakeServer(BadDays):
    """Requests are named by method and path, troubles by method."""

    cluster: FakeCluster

    def kubeconfig(self) -> str:
        """A file that names the server."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "here",
                "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            }
        )  # fmt: skip


def serving(cluster: FakeCluster) -> AbstractContextManager[FakeServer]:
    """Serve a cluster on a free port."""
    return answering(FakeServer(cluster), _Handler)


class _Handler(Answers):
    fake: FakeServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        body = self.body()
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.fake.requests.append(f"{method} {url.path}")
        trouble = self.fake.trouble(method)
        if self.fake.down or trouble == "hangs up":
            self.close_connection = True
            return
        try:
            if isinstance(trouble, int):
                raise Refused(trouble, "Trouble", f"the server said {trouble}")
            if not self.known():
                raise Refused(401, "Unauthorized", "Unauthorized")
            with self.fake.cluster.lock:
                self.fake.cluster.control()
                answer = self._do(method, url.path.strip("/").split("/"), query, body)
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            if trouble == "forgets to answer":
                self.close_connection = True
                return
            media_type = "text/plain" if isinstance(answer, bytes) else "application/json"
            self.send(201 if method == "POST" else 200, raw, media_type)
        except Refused as refusal:
            status = {
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": refusal.code,
                "reason": refusal.reason, "message": refusal.message,
            }  # fmt: skip
            self.send(refusal.code, json.dumps(status).encode())

    def _do(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> Object | bytes:
        cluster = self.fake.cluster
        match method, path:
            case "GET", ["api", "v1", "nodes"]:
                return _listed("NodeList", cluster.nodes, query)
            case _, ["apis", "batch", "v1", "namespaces", cluster.namespace, "jobs", *rest]:
                return self._do_jobs(method, rest, query, body)
            case _, ["api", "v1", "namespaces", cluster.namespace, "pods", *rest]:
                return self._do_pods(method, rest, query, body)
            case _, ["api", "v1", "namespaces", cluster.namespace, "secrets", *rest]:
                return self._do_secrets(method, rest, query, body)
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _do_jobs(self, method: str, rest: list[str], query: dict[str, str], body: bytes) -> Object:
        cluster = self.fake.cluster
        match method, rest:
            case "POST", []:
                return cluster.create_job(json.loads(body))
            case "GET", []:
                return _listed("JobList", list(cluster.jobs.values()), query)
            case "GET", [name]:
                return cluster.job(name)
            case "PATCH", [name]:
                if self.headers["Content-Type"] != "application/merge-patch+json":
                    raise Refused(415, "UnsupportedMediaType", "only merge patches are understood here")
                return cluster.patch_job(name, json.loads(body))
            case "DELETE", [name]:
                cluster.delete_job(name)
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        raise Refused(405, "MethodNotAllowed", "the server does not allow this method")

    def _do_secrets(self, method: str, rest: list[str], query: dict[str, str], body: bytes) -> Object:
        secrets = self.fake.cluster.secrets
        match method, rest:
            case "POST", []:
                return secrets.create(json.loads(body))
            case "GET", []:
                found = list(secrets.there.values())
                if "as=PartialObjectMetadataList" not in self.headers.get("Accept", ""):
                    return _listed("SecretList", found, query)
                bare = [{"apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]} for one in found]
                return _listed("PartialObjectMetadataList", bare, query)
            case "GET", [name]:
                return secrets.get(name)
            case "PATCH", [name] if self.headers["Content-Type"] == "application/merge-patch+json":
                return secrets.patch(name, json.loads(body))
            case "DELETE", [name]:
                secrets.delete(name)
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        raise Refused(405, "MethodNotAllowed", "the server does not allow this method")

    def _do_pods(self, method: str, rest: list[str], query: dict[str, str], body: bytes) -> Object | bytes:
        cluster = self.fake.cluster
        match method, rest:
            case "GET", []:
                return _listed("PodList", list(cluster.pods.values()), query)
            case "GET", [name, "log"]:
                return _log(cluster, name, query)
            case "DELETE", [name]:
                asked = query.get("gracePeriodSeconds") or json.loads(body or b"{}").get("gracePeriodSeconds")
                cluster.delete_pod(name, grace_s=None if asked is None else int(asked))
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        raise Refused(405, "MethodNotAllowed", "the server does not allow this method")


def _listed(kind: str, things: list[Object], query: dict[str, str]) -> Object:
    """Those that a selector names, a page at a time; a page that comes late is gone."""
    wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
    found = [one for one in things if wanted.items() <= (one["metadata"].get("labels") or {}).items()]
    start, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(found)
    metadata = {"resourceVersion": "1"}
    if start + limit < len(found):
        metadata["continue"] = str(start + limit)
    return {
        "kind": kind, "apiVersion": "v1", "metadata": metadata, "items": found[start : start + limit],
    }  # fmt: skip


def _log(cluster: FakeCluster, name: str, query: dict[str, str]) -> bytes:
    """As the kubelet hands it out: whole seconds for `sinceTime`, the container's own bytes after each time."""
    pod = cluster.pods.get(name)
    if pod is None:
        raise Refused(404, "NotFound", f'pods "{name}" not found')
    statuses = pod["status"].get("containerStatuses")
    if not statuses or "waiting" in statuses[0]["state"]:
        raise Refused(400, "BadRequest", f'container "main" in pod "{name}" is waiting to start: ContainerCreating')
    lines = cluster.logs.get(name, [])
    if "sinceTime" in query:
        since = datetime.fromisoformat(query["sinceTime"])
        lines = [line for line in lines if line[0] >= since]
    if "tailLines" in query:
        lines = lines[-int(query["tailLines"]) :]
    stamped = query.get("timestamps") == "true"
    raw = b"".join(
        (f"{at:%Y-%m-%dT%H:%M:%S.%f}{nanos:03d}Z ".encode() if stamped else b"") + text for at, nanos, text in lines
    )
    return raw[: int(query["limitBytes"])] if "limitBytes" in query else raw
