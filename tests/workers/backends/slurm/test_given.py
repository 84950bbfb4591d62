"""Secrets and files on a real cluster: the command has them, and Slurm, its accounting and the directory do not."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import JobState, Outcome
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.secrets import delete_secret, put_secret
from scheduler.services.submit import submit_job
from scheduler.services.vault import Vault, new_key
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_custom_spec, make_offer
from tests.support.slurm import Cluster
from tests.support.store import BUCKET, Store
from tests.workers.backends.slurm.conftest import files_that_hold, gpu_work, outcome
from tests.workers.works import ON_CPU, ended, printed, python, until
from tests.workers.workshop import Workshop
from workers.backends.base import JobRefused, Phase
from workers.backends.handed_over import HandedOver
from workers.backends.slurm.backend import Slurm
from workers.backends.slurm.files import ASKS, SEALED
from workers.handing_out import HandingOut

VALUE = "s3cr3t-of-the-house"
DIGEST = hashlib.sha256(VALUE.encode()).hexdigest()
SAYS_DIGEST = "import hashlib, os; print(hashlib.sha256(os.environ['TOKEN'].encode()).hexdigest())"


@pytest.fixture
def workshop(engine: sa.Engine, tmp_path: Path, slurm: Slurm, store: Store) -> Workshop:
    """An installation with a secret, keys to its store, and the cluster's processors to place jobs on."""
    new_key(tmp_path / "keys")
    vault = Vault(tmp_path / "keys")
    made = Workshop(engine, tmp_path)
    handing = HandingOut(engine=engine, vault=vault, access=store.access, files_cap_bytes=10**6)
    made.backends["slurm"] = replace(slurm, hand_over=handing.of)
    cpu = make_offer(
        "CPU", 0.0, provider="campus", backend="slurm", region="gpu", instance_type="cpu:8", node_gpus=8,
        sold_gpus=(1, 2, 4, 8), capacity_gpus=8,
    )  # fmt: skip
    put_offers(engine, [cpu])
    put_secret(engine, vault, DEFAULT_TENANT, "house", VALUE, now=made.clock())
    return made


def submit(workshop: Workshop, script: str, **run: Any) -> UUID:
    whole = {"command": [sys.executable, "-c", script], "secrets": {"TOKEN": "house"}, **run}
    spec = make_custom_spec(run=whole, constraints={"providers": ["campus"]})
    done = submit_job(
        workshop.engine, know(workshop.predictor), spec, tenant_id=DEFAULT_TENANT, now=workshop.clock(),
        idempotency_key=None,
    )  # fmt: skip
    assert done.job.state is JobState.PLACED, done.decision.reason
    return done.job.id


def slurms_words(cluster: Cluster, number: str) -> str:
    """All that Slurm shows of a job, now and in its accounting; its own databases are among the cluster's files."""
    one = f"--jobs={number}"
    # this cluster accounts for environments and scripts as well; both come with some delay
    until(lambda: "PATH=" in cluster.command("sacct", "--env-vars", one))
    until(lambda: "exec" in cluster.command("sacct", "--batch-script", one))
    said = (
        cluster.command("sacct", "--format=All", "--parsable", one),
        cluster.command("scontrol", "show", "job", "--details", number),
        cluster.command("sacct", "--env-vars", one),
        cluster.command("sacct", "--batch-script", one),
    )
    return "\n".join(said)


def test_the_command_has_the_secret_and_nothing_of_the_cluster_does(
    workshop: Workshop, slurm: Slurm, slurm_cluster: Cluster, tmp_path: Path, store: Store
) -> None:
    go_on = tmp_path / "go_on"
    waits = f"; import pathlib, time\nwhile not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.05)"
    job_id = submit(workshop, f"{SAYS_DIGEST}; print(os.environ['TOKEN'], flush=True){waits}")
    folder = slurm.shared.attempt(str(workshop.attempts(job_id)[0].id))
    hidden = (VALUE, store.access.secret_access_key)
    caught: list[Path] = []

    def runs() -> bool:
        caught.extend(files_that_hold(slurm.shared.root, *hidden))
        return "stdout.0" in {path.name for path in folder.glob("*")} and workshop.job(job_id).state is JobState.RUNNING

    workshop.turn_until(runs)
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it is gone
            assert VALUE.encode() not in line.read_bytes()
    assert not {ASKS, SEALED} & {path.name for path in folder.iterdir()}
    job = slurm.shared.job_of(folder)
    assert job is not None
    said = slurms_words(slurm_cluster, job.number)
    assert files_that_hold(slurm.shared.root, DIGEST)  # what is there would be found
    go_on.touch()
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED
    assert workshop.printed(job_id) == f"{DIGEST}\n[secret]\n"
    assert caught + files_that_hold(slurm.shared.root, *hidden) == []
    assert files_that_hold(slurm_cluster.folder, *hidden) == []
    said += slurms_words(slurm_cluster, job.number)
    assert not any(word in said for word in hidden)


def test_files_come_in_and_go_out_with_their_checksums(workshop: Workshop, store: Store, slurm: Slurm) -> None:
    upper = (
        "import os, pathlib; pathlib.Path('out.txt').write_text(pathlib.Path('in/a.txt').read_text().upper());"
        "print('AWS_SECRET_ACCESS_KEY' in os.environ)"
    )
    job_id = submit(
        workshop, upper,
        inputs=[{"from": f"s3://{BUCKET}/a.txt", "to": "in/", "sha256": hashlib.sha256(b"hello").hexdigest()}],
        outputs=[{"from": "*.txt", "to": f"s3://{BUCKET}/done/"}],
    )  # fmt: skip
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED
    assert workshop.printed(job_id) == "False\n"  # the installation's keys are not the command's
    assert store.get("done/out.txt") == b"HELLO"
    assert files_that_hold(slurm.shared.root, VALUE, store.access.secret_access_key) == []


def test_a_file_that_is_not_the_one_that_was_meant_fails_the_job(workshop: Workshop) -> None:
    wrong = [{"from": f"s3://{BUCKET}/a.txt", "to": "in/", "sha256": hashlib.sha256(b"other").hexdigest()}]
    job_id = submit(workshop, "print('never')", inputs=wrong)
    assert workshop.turn_until_over(job_id).state is JobState.FAILED
    (attempt,) = workshop.attempts(job_id)
    assert attempt.outcome is Outcome.FAILED
    assert str(attempt.reason).startswith("inputs: ")
    assert workshop.printed(job_id) == ""


def test_a_secret_deleted_while_the_job_waits_in_slurm_fails_it(
    workshop: Workshop, slurm: Slurm, tmp_path: Path
) -> None:
    place: dict[str, Any] = {"instance_type": "cpu:8", "forecast": ON_CPU, "count": 8}
    holders = [slurm.start(gpu_work(["sleep", "60"], **place)) for _ in range(2)]  # both nodes
    until(lambda: all(slurm.poll(handle).phase is Phase.RUNNING for handle in holders))
    never = tmp_path / "never"
    job_id = submit(workshop, f"open({str(never)!r}, 'w')")
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.STARTING)
    assert not [path for name in (ASKS, SEALED) for path in slurm.shared.root.rglob(f"*{name}*")]  # while it waits
    delete_secret(workshop.engine, DEFAULT_TENANT, "house")
    for handle in holders:
        slurm.stop(handle, hard=True)
    assert workshop.turn_until_over(job_id).state is JobState.FAILED
    (attempt,) = workshop.attempts(job_id)
    assert attempt.reason == "the secret house was deleted since the job was submitted"
    assert not never.exists()


def given(backend: Slurm, value: Callable[[AttemptWork], str]) -> Slurm:
    """The backend with a secret for each attempt."""
    return replace(backend, hand_over=lambda work: HandedOver(secrets={"TOKEN": value(work)}))


def test_each_element_of_an_array_has_its_own(slurm: Slurm) -> None:
    batch = given(slurm, lambda work: f"secret of {work.attempt_id}")
    batch = replace(batch, submitter=replace(slurm.submitter, window_s=0.3))
    works = [gpu_work(python(SAYS_DIGEST)) for _ in range(3)]
    handles = [batch.start(work) for work in works]
    told = set()
    for work, handle in zip(works, handles, strict=True):
        until(lambda: batch.poll(handle).phase is Phase.ASKS)  # noqa: B023 - called at once
        told.add(json.dumps(batch.start(work)))
    assert len(told) == 3
    for work, handle in zip(works, handles, strict=True):
        assert ended(batch, handle).exit_code == 0
        own = hashlib.sha256(f"secret of {work.attempt_id}".encode()).hexdigest()
        assert printed(batch, handle) == f"{own}\n"
    assert len({slurm.shared.job_of(Path(handle["folder"])).number.partition("_")[0] for handle in handles}) == 1  # type: ignore[union-attr]


def test_any_worker_answers_where_the_first_is_gone(slurm: Slurm) -> None:
    work = gpu_work(python(SAYS_DIGEST))
    handle = given(slurm, lambda _: "as it was when it was submitted").start(work)
    other = given(replace(slurm, queue=replace(slurm.queue)), lambda _: VALUE)
    until(lambda: other.poll(handle).phase is Phase.ASKS)
    assert other.start(work) == handle
    assert ended(other, handle).exit_code == 0
    assert printed(other, handle) == f"{DIGEST}\n"


def test_one_that_waits_on_its_node_can_be_stopped(slurm: Slurm, tmp_path: Path) -> None:
    never = tmp_path / "never"
    work = gpu_work(["touch", str(never)])
    backend = given(slurm, lambda _: VALUE)
    handle = backend.start(work)
    until(lambda: backend.poll(handle).phase is Phase.ASKS)
    backend.stop(handle, hard=False)
    assert outcome(ended(backend, handle), cancel_requested=True) == (Outcome.CANCELLED, None)
    backend.clear(handle)
    assert not never.exists()
    assert not {ASKS, SEALED} & {path.name for path in Path(handle["folder"]).iterdir()}


def test_what_cannot_be_opened_is_not_submitted(slurm: Slurm) -> None:
    def refuse(_: AttemptWork) -> HandedOver:
        raise JobRefused("the secret house was deleted")

    work = gpu_work(["true"])
    with pytest.raises(JobRefused):
        replace(slurm, hand_over=refuse).start(work)
    assert slurm.poll(slurm.locate(work.attempt_id)).phase is Phase.ABSENT


def test_what_an_attempt_leaves_in_the_directory_is_its_owners_alone(slurm: Slurm) -> None:
    handle = slurm.start(gpu_work(["true"]))
    ended(slurm, handle)
    assert Path(handle["folder"]).stat().st_mode & 0o077 == 0
