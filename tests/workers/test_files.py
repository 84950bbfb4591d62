"""Files of a job: in before its command starts, out after its end, whatever becomes of either."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import JobState, Outcome
from scheduler.services.cancel import cancel_job
from scheduler.services.knowledge import know
from scheduler.services.secrets import put_secret
from scheduler.services.submit import submit_job
from scheduler.services.vault import Vault, new_key
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_custom_spec
from tests.support.store import BUCKET, IN, OUT, UPPER, Store
from tests.workers.conftest import leave_nothing
from tests.workers.workshop import Workshop
from workers.backends.handed_over import HandedOver
from workers.backends.local import local_backend
from workers.backends.simulated import simulated_backend
from workers.handing_out import HandingOut


@pytest.fixture
def handing(engine: sa.Engine, tmp_path: Path) -> HandingOut:
    """An installation with a key for secrets, and no keys to a store."""
    new_key(tmp_path / "keys")
    return HandingOut(engine=engine, vault=Vault(tmp_path / "keys"), files_cap_bytes=10**6)


@pytest.fixture
def workshop(engine: sa.Engine, tmp_path: Path, handing: HandingOut, store: Store) -> Iterator[Workshop]:
    """A workshop whose jobs keep the keys to their store as secrets."""
    made = Workshop(engine, tmp_path)
    backend = local_backend(tmp_path, log_cap_bytes=8192, hand_over=handing.of)
    made.backends["local"] = backend
    keys = {"id": store.access.access_key_id, "key": store.access.secret_access_key}
    for name, value in keys.items():
        put_secret(engine, handing.vault, DEFAULT_TENANT, name, value, now=made.clock())
    yield made
    leave_nothing(backend)


def submit(workshop: Workshop, store: Store, script: str = UPPER, *, provider: str = "local", **run: Any) -> UUID:
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    given = {"command": [sys.executable, "-c", script], "inputs": [IN], "outputs": [OUT], "secrets": keys,
             "env": {"AWS_ENDPOINT_URL": store.line.url}}  # fmt: skip
    spec = make_custom_spec(run={**given, **run}, constraints={"providers": [provider]})
    done = submit_job(workshop.engine, know(workshop.predictor), spec, tenant_id=DEFAULT_TENANT, now=workshop.clock())
    assert done.job.state is JobState.PLACED
    return done.job.id


def ended(workshop: Workshop, job_id: UUID) -> tuple[JobState, Outcome | None, str | None]:
    job = workshop.turn_until_over(job_id, within_s=60)
    last = workshop.attempts(job_id)[-1]
    return job.state, last.outcome, last.reason


def test_a_job_finds_its_files_and_its_files_are_kept(workshop: Workshop, store: Store) -> None:
    job_id = submit(workshop, store)
    assert ended(workshop, job_id) == (JobState.COMPLETED, Outcome.COMPLETED, None)
    assert store.keys() == ["a.txt", "done/out.txt"]
    assert store.get("done/out.txt") == b"HELLO"
    folder = workshop.folder / "attempts" / "local" / str(workshop.attempts(job_id)[0].id)
    assert not (folder / "work" / "in" / "a.txt").exists()  # what was fetched does not fill the disk
    kept = [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]
    assert any("s3://" in text for text in kept)
    assert not any(store.access.secret_access_key in text for text in kept)


def test_the_spec_is_kept_as_it_was_sent(workshop: Workshop, store: Store) -> None:
    job_id = submit(workshop, store)
    assert workshop.job(job_id).spec["run"]["inputs"] == [IN]
    assert workshop.job(job_id).spec["run"]["outputs"] == [OUT]
    ended(workshop, job_id)


def test_until_its_files_are_there_a_job_starts_and_can_be_cancelled(workshop: Workshop, store: Store) -> None:
    store.line.open.clear()
    job_id = submit(workshop, store)
    workshop.turn_until(lambda: any(head.startswith(b"GET") for head in store.line.requests))
    assert workshop.job(job_id).state is JobState.STARTING
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert ended(workshop, job_id)[:2] == (JobState.CANCELLED, Outcome.CANCELLED)
    assert workshop.attempts(job_id)[0].running_at is None


def test_an_input_that_is_missing_fails_the_job_for_good_and_is_named(workshop: Workshop, store: Store) -> None:
    job_id = submit(workshop, store, inputs=[IN, {"from": f"s3://{BUCKET}/b.txt", "to": "b"}])
    state, outcome, reason = ended(workshop, job_id)
    assert (state, outcome) == (JobState.FAILED, Outcome.FAILED)
    assert reason == "inputs: s3://files/b.txt: there is no such file"
    assert len(workshop.attempts(job_id)) == 1
    assert workshop.printed(job_id) == ""


def test_an_output_that_cannot_be_kept_takes_nothing_from_the_outcome(workshop: Workshop, store: Store) -> None:
    nowhere = {"from": "out.txt", "to": "s3://no-such-bucket/out.txt"}
    job_id = submit(workshop, store, outputs=[nowhere, OUT])
    state, outcome, reason = ended(workshop, job_id)
    assert (state, outcome) == (JobState.COMPLETED, Outcome.COMPLETED)
    assert reason is not None
    assert "not all outputs were kept (s3://no-such-bucket/out.txt: there is no such bucket)" in reason
    where = Path(reason.partition("they are in ")[2].partition(" on ")[0])
    assert (where / "out.txt").read_text() == "HELLO"
    assert store.get("done/out.txt") == b"HELLO"


def test_what_a_failing_command_left_is_kept_and_it_fails_all_the_same(workshop: Workshop, store: Store) -> None:
    job_id = submit(workshop, store, UPPER + "; raise SystemExit(3)", outputs=[OUT, {**OUT, "from": "never/*"}])
    assert ended(workshop, job_id) == (JobState.FAILED, Outcome.FAILED, "exit code 3")
    assert store.get("done/out.txt") == b"HELLO"


def test_what_may_pass_is_tried_again(workshop: Workshop, store: Store, handing: HandingOut) -> None:
    tries: list[int] = []

    def forgetful(work: AttemptWork) -> HandedOver:
        """The first supervisor never had the keys."""
        tries.append(work.number)
        return replace(handing.of(work), access=None) if work.number == 1 else handing.of(work)

    workshop.backends["local"] = local_backend(workshop.folder, log_cap_bytes=8192, hand_over=forgetful)
    job_id = submit(workshop, store)
    assert ended(workshop, job_id)[0] is JobState.COMPLETED
    assert [attempt.outcome for attempt in workshop.attempts(job_id)] == [Outcome.LOST, Outcome.COMPLETED]
    assert tries == [1, 2]


def test_keys_of_the_installation_go_to_its_store_alone(workshop: Workshop, store: Store, handing: HandingOut) -> None:
    own = replace(handing, access=replace(store.access, endpoint_url=store.line.url))
    workshop.backends["local"] = local_backend(workshop.folder, log_cap_bytes=8192, hand_over=own.of)
    job_id = submit(workshop, store, secrets={}, env={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert ended(workshop, job_id)[0] is JobState.COMPLETED
    printing = "import json, os; print(json.dumps(dict(os.environ)))"
    job_id = submit(workshop, store, printing, secrets={}, outputs=[])
    assert ended(workshop, job_id)[0] is JobState.COMPLETED
    environment: Mapping[str, str] = json.loads(workshop.printed(job_id))
    assert store.access.secret_access_key not in environment.values()


def test_a_job_without_keys_to_its_files_is_told_so(workshop: Workshop, store: Store) -> None:
    state, outcome, reason = ended(workshop, submit(workshop, store, secrets={}))
    assert (state, outcome) == (JobState.FAILED, Outcome.FAILED)
    assert reason is not None
    assert reason.startswith("nobody has keys to its files: store them as secrets")


def test_a_simulated_machine_has_the_files_too(workshop: Workshop, store: Store, handing: HandingOut) -> None:
    workshop.backends["simulated"] = simulated_backend(
        workshop.folder, log_cap_bytes=8192, seed=1, time_scale=0.0, hand_over=handing.of
    )
    job_id = submit(workshop, store, provider="acme")
    assert ended(workshop, job_id)[:2] == (JobState.COMPLETED, Outcome.COMPLETED)
    assert store.get("done/out.txt") == b"HELLO"
