"""Ask the API server of a cluster: the few calls that we need, each with time limits and some patience.

Every failure that may pass is `ProviderUnavailable` with one sentence; what the server says about an object that is
there or is not comes back as a value. `lightkube` keeps the credentials fresh, in the cluster and outside of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpx2
from lightkube import Client, KubeConfig
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Node, Pod, Secret
from lightkube.types import CascadeType, PatchType

from scheduler.settings import Settings
from workers.backends.base import ProviderUnavailable, StartFailed
from workers.backends.kubernetes.names import ATTEMPT, CONTAINER, OURS
from workers.backends.kubernetes.patience import CONNECT_S, TIMEOUT_S, asked, found, said
from workers.backends.words import line

_NO_VALUES = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500
"""Objects of one answer: the server reads a long list in pieces, or it holds up everybody."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A namespace of a cluster, as whoever is named in the configuration may see it."""

    client: Client
    http: httpx2.Client
    """The same server with the same credentials; for output, which is bytes and no object."""
    namespace: str

    def create(self, job: Job) -> Job | None:
        """Make a Job; None where its name is taken, StartFailed where the cluster will not have it."""

        def once() -> Job | None:
            try:
                return self.client.create(job, namespace=self.namespace)
            except httpx2.HTTPStatusError as error:
                match error.response.status_code:
                    case 409:
                        return None
                    case 400 | 422:
                        raise StartFailed(f"the cluster does not take the Job: {said(error)}") from None
                raise

        return asked(once)

    def create_secret(self, secret: Secret) -> None:
        """Make a Secret unless there is one of its name; StartFailed where the cluster will not have it."""

        def once() -> None:
            try:
                self.client.create(secret, namespace=self.namespace)
            except httpx2.HTTPStatusError as error:
                match error.response.status_code:
                    case 409:
                        return
                    case 400 | 413 | 422 as status:  # without its words: they may quote what they object to
                        raise StartFailed(f"the cluster does not take the job's secrets ({status})") from None
                raise

        asked(once)

    def secret(self, name: str) -> Secret | None:
        """A Secret with its values."""
        return found(lambda: self.client.get(Secret, name, namespace=self.namespace))

    def secrets(self) -> list[ObjectMeta]:
        """What all Secrets of ours are called and whose they are. Their values are not asked for."""

        def once() -> list[ObjectMeta]:
            answer = self.http.get(
                f"/api/v1/namespaces/{self.namespace}/secrets",
                params={"labelSelector": ",".join(f"{name}={value}" for name, value in OURS.items())},
                headers={"Accept": _NO_VALUES},
            )
            items = answer.raise_for_status().json()["items"]
            return [cast("ObjectMeta", ObjectMeta.from_dict(item["metadata"])) for item in items]

        return asked(once)

    def change_secret(self, name: str, change: Mapping[str, Any]) -> None:
        """Change what is said about a Secret, if there is one."""
        found(
            lambda: self.client.patch(Secret, name, dict(change), namespace=self.namespace, patch_type=PatchType.MERGE)
        )

    def delete_secret(self, name: str) -> None:
        """Delete a Secret, if there is one. Who may not, has never made one."""

        def once() -> None:
            try:
                self.client.delete(Secret, name, namespace=self.namespace)
            except httpx2.HTTPStatusError as error:
                if error.response.status_code not in (403, 404):
                    raise

        asked(once)

    def job(self, name: str) -> Job | None:
        """A Job as it stands."""
        return found(lambda: self.client.get(Job, name, namespace=self.namespace))

    def jobs(self, labels: Mapping[str, str] = OURS) -> list[Job]:
        """All Jobs with these labels."""

        def once() -> list[Job]:
            try:
                return list(self.client.list(Job, namespace=self.namespace, labels=dict(labels), chunk_size=_PAGE))
            except httpx2.HTTPStatusError as error:
                if error.response.status_code != 410:
                    raise
            # the server has forgotten the state of which we have read a part: read it in one piece
            return list(self.client.list(Job, namespace=self.namespace, labels=dict(labels)))

        return asked(once)

    def pods(self, attempt_id: str) -> list[Pod]:
        """The pods of an attempt's Job, oldest first; there is one at most, unless somebody meddled."""
        pods = asked(lambda: list(self.client.list(Pod, namespace=self.namespace, labels={ATTEMPT: attempt_id})))
        return sorted(pods, key=lambda pod: str(pod.metadata and pod.metadata.creationTimestamp))

    def nodes(self) -> list[Node]:
        """Every machine of the cluster."""
        return asked(lambda: list(self.client.list(Node, chunk_size=_PAGE)))

    def change(self, name: str, change: Mapping[str, Any]) -> Job | None:
        """Change some fields of a Job; None where there is none."""
        return found(
            lambda: self.client.patch(Job, name, dict(change), namespace=self.namespace, patch_type=PatchType.MERGE)
        )

    def delete_job(self, name: str) -> None:
        """Delete a Job with its pods."""
        found(lambda: self.client.delete(Job, name, namespace=self.namespace, cascade=CascadeType.BACKGROUND))

    def kill(self, pods: Sequence[Pod], *, grace_s: int = 0) -> None:
        """Delete pods with so much grace, or without waiting for what runs in them."""
        for pod in pods:
            name = pod.metadata and pod.metadata.name
            if name:
                found(lambda name=name: self.client.delete(Pod, name, namespace=self.namespace, grace_period=grace_s))  # type: ignore[misc]

    def printed(self, pod: str, **options: Any) -> bytes:
        """What a pod's container printed, by the server's own options (`sinceTime`, `tailLines`, `limitBytes`,
        `timestamps`); empty where there is no such pod, or it has not begun."""

        def once() -> bytes:
            answer = self.http.get(
                f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log",
                params={"container": CONTAINER, **options},
            )
            if answer.status_code in (400, 404):
                return b""
            return answer.raise_for_status().content

        return asked(once)


def connect(settings: Settings) -> Cluster:
    """Read the configuration and make a client; nothing is asked of the server yet."""
    namespace = settings.kubernetes_namespace
    assert namespace is not None  # noqa: S101 - there is no such backend without one
    try:
        config = _config(settings)
        timeout = httpx2.Timeout(TIMEOUT_S, connect=CONNECT_S)
        client = Client(config=config, namespace=namespace, timeout=timeout, field_manager="pythia")
        return Cluster(
            client, client_adapter.Client(config, client_adapter.ConnectionParams(timeout=timeout)), namespace
        )
    except (ConfigError, OSError, KeyError, TypeError, ValueError) as error:
        raise ProviderUnavailable(f"the configuration of the cluster cannot be used: {line(error)}") from error


def _config(settings: Settings) -> SingleConfig:
    path = settings.kubernetes_config
    known = KubeConfig.from_env() if path is None else KubeConfig.from_file(path)
    config = known.get(settings.kubernetes_context)
    if config is None:
        raise ConfigError("it has no current context")
    # a proxy that knows who we are needs no user
    return config if config.user is not None else config._replace(user=User())
