"""Tell a job's webhook that the job has ended: a POST of the job as `GET /v1/jobs/{id}` shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import httpx
import structlog

from scheduler.services.notify import tell_later, to_be_told
from scheduler.storage.engine import Engine

log = structlog.get_logger(__name__)

_TIMEOUT_S = 5.0
RETRY_AFTER_S = (10.0, 60.0, 600.0)
"""Waits before further tries; a receiver that is gone for longer asks for the job itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Messenger:
    """Sends words about jobs, at least once each while the receiver answers."""

    engine: Engine
    clock: Callable[[], datetime]

    def tell(self, job_id: UUID, *, tries: int) -> None:
        """Send; where that fails, ring again later, a few times."""
        from scheduler.api.present import job as as_shown  # noqa: PLC0415 - FastAPI, which few workers ever need

        told = to_be_told(self.engine, job_id)
        if told is None:
            return
        url, job = told
        trouble = _post(url, as_shown(job).model_dump_json())
        if trouble is None:
            log.info("told webhook", job_id=str(job_id))
            return
        again = tries < len(RETRY_AFTER_S)
        log.warning("could not tell webhook", job_id=str(job_id), tries=tries + 1, reason=trouble, again=again)
        if again:
            tell_later(self.engine, job_id, tries=tries + 1, at=self.clock() + timedelta(seconds=RETRY_AFTER_S[tries]))


def _post(url: str, body: str) -> str | None:
    """None when the receiver took it, else why not."""
    try:
        # the user named one address: no redirect leads the job elsewhere, and no proxy of the worker's is asked
        with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            answer = client.post(url, content=body, headers={"Content-Type": "application/json"})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__}: {error}"
    return None if answer.is_success else f"it answered {answer.status_code}"
