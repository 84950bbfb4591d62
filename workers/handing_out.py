"""Open what an attempt asks for beside its command, in the worker that starts it: secrets, and keys to its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.secrets import SecretsUnavailable, UnknownSecret
from scheduler.domain.spec import RunSpec
from scheduler.services.secrets import open_secrets
from scheduler.services.vault import Vault
from scheduler.settings import Settings
from scheduler.storage.engine import Engine
from workers.backends.base import JobRefused, StartFailed
from workers.backends.handed_over import NOTHING, HandedOver
from workers.staging.plan import Access, FilesPlan, Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class HandingOut:
    """What an installation keeps for its jobs, as one worker can open it."""

    engine: Engine
    vault: Vault
    endpoint_url: str | None = None
    region: str | None = None
    access: Access | None = None
    """The installation's own keys, for jobs that bring none."""
    files_cap_bytes: int

    def of(self, work: AttemptWork) -> HandedOver:
        """JobRefused where a secret was deleted, or nobody has keys to the files; StartFailed where this worker cannot
        open a secret: another may."""
        run = work.spec.run
        if run is None:
            return NOTHING
        try:
            secrets = open_secrets(self.engine, self.vault, work.tenant_id, run.secrets)
        except UnknownSecret as error:
            raise JobRefused(f"the secret {error.name} was deleted since the job was submitted") from None
        except SecretsUnavailable as error:
            raise StartFailed(str(error)) from None
        plan = plan_of(run, most_bytes=self.files_cap_bytes)
        access = None if plan is None else self._access(run, secrets)
        return HandedOver(secrets=secrets, access=access, plan=plan)

    def _access(self, run: RunSpec, secrets: Mapping[str, str]) -> Access:
        """The job's own keys, under the names that Amazon's tools know; where it has none, the installation's, and then
        for the installation's store alone: no job may send them elsewhere."""
        given = {**run.env, **secrets}
        key_id, key = given.get("AWS_ACCESS_KEY_ID"), given.get("AWS_SECRET_ACCESS_KEY")
        if key_id and key:
            endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL") or self.endpoint_url
            return Access(
                access_key_id=key_id,
                secret_access_key=key,
                session_token=given.get("AWS_SESSION_TOKEN"),
                endpoint_url=endpoint,
                region=given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or self.region,
            )
        if self.access is None:
            raise JobRefused(
                "nobody has keys to its files: store them as secrets and name them in run.secrets as "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return self.access


def plan_of(run: RunSpec, *, most_bytes: int) -> FilesPlan | None:
    """The plan of a spec; None where it has no files."""
    if not run.inputs and not run.outputs:
        return None
    return FilesPlan(
        inputs=tuple(Transfer(source=one.source, to=one.to, sha256=one.sha256) for one in run.inputs),
        outputs=tuple(Transfer(source=one.source, to=one.to) for one in run.outputs),
        most_bytes=most_bytes,
    )


def handing_out(engine: Engine, settings: Settings) -> HandingOut:
    """As an installation is set up."""
    access = None
    if settings.s3_access_key_id and settings.s3_secret_access_key:
        access = Access(
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key,
            endpoint_url=settings.s3_endpoint_url,
            region=settings.s3_region,
        )
    return HandingOut(
        engine=engine,
        vault=Vault(settings.secrets_key_path),
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        access=access,
        files_cap_bytes=settings.files_cap_bytes,
    )
