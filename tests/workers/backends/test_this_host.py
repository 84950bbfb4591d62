"""A host is told from another of its name and paths, and stays the one that it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workers.works import make_work
from workers.backends.base import Phase
from workers.backends.local import local_backend, registration
from workers.backends.simulated import simulated_backend
from workers.backends.this_host import NAME, HostIdUnreadable, this_host


def another_machine(data_path: Path) -> None:
    """As if the next to look were a machine with the same name and the same paths."""
    (data_path / NAME).unlink()


def test_hosts_of_one_name_and_one_path_differ(tmp_path: Path) -> None:
    first = registration(tmp_path, "ubuntu")
    assert registration(tmp_path, "ubuntu") == first
    another_machine(tmp_path)
    second = registration(tmp_path, "ubuntu")
    assert second[0] != first[0]
    assert second[1] == first[1] == f"ubuntu:{tmp_path}/attempts/local"


def test_however_many_workers_begin_at_once_a_host_has_one_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as workers:
        ids = set(workers.map(lambda _: this_host(tmp_path / "new", "ubuntu").id, range(16)))
    assert len(ids) == 1


def test_an_attempt_of_another_host_of_this_name_is_left_to_that_host(tmp_path: Path) -> None:
    attempt_id = make_work(["true"]).attempt_id
    theirs = local_backend(tmp_path, log_cap_bytes=4096, host="ubuntu").locate(attempt_id)
    another_machine(tmp_path)
    ours = local_backend(tmp_path, log_cap_bytes=4096, host="ubuntu")
    assert ours.poll(theirs).phase is Phase.ELSEWHERE
    assert ours.poll(ours.locate(attempt_id)).phase is Phase.ABSENT


def test_an_attempt_from_before_hosts_had_ids_is_known_by_their_names(tmp_path: Path) -> None:
    backend = local_backend(tmp_path, log_cap_bytes=4096, host="ubuntu")
    handle = {"host": "ubuntu", "folder": str(tmp_path / "attempts" / "local" / str(make_work(["true"]).attempt_id))}
    assert backend.poll(handle).phase is Phase.ABSENT
    assert backend.poll({**handle, "host": "another"}).phase is Phase.ELSEWHERE


@pytest.mark.parametrize("before", ["attempts", "machines"])
def test_machines_from_before_hosts_had_ids_keep_their_account(tmp_path: Path, before: str) -> None:
    (tmp_path / before).mkdir()
    for _ in range(2):
        local = local_backend(tmp_path, log_cap_bytes=4096, host="ubuntu")
        cloud = simulated_backend(tmp_path, log_cap_bytes=4096, seed=1, time_scale=1, host="ubuntu")
        assert local.account == f"ubuntu:{tmp_path}/attempts/local"
        assert cloud.account == f"ubuntu:{tmp_path}/attempts/simulated"
        assert local.host_id is not None


def test_machines_of_a_new_host_are_its_own(tmp_path: Path) -> None:
    first = local_backend(tmp_path, log_cap_bytes=4096, host="ubuntu")
    (tmp_path / "attempts").mkdir()
    assert local_backend(tmp_path, log_cap_bytes=4096, host="ubuntu").account == first.account
    (tmp_path / "attempts").rmdir()
    another_machine(tmp_path)
    assert local_backend(tmp_path, log_cap_bytes=4096, host="ubuntu").account != first.account


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"id": 1, "id_in_accounts": true}', '{"id": "", "id_in_accounts": true}']
)
def test_an_id_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(HostIdUnreadable, match=r"host\.json holds no host's id: restore it, or delete it"):
        this_host(tmp_path, "ubuntu")


def test_a_worker_that_cannot_write_needs_no_id(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert this_host(tmp_path / "file", "ubuntu").id is None
