"""Secrets are sealed under keys that can be changed, belong to one tenant, and are missed when a job is submitted."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from predictor.errors import PythiaError
from scheduler.domain.errors import InvalidSpec, NotFound
from scheduler.domain.secrets import InvalidSecret, SecretsUnavailable, UnknownSecret
from scheduler.domain.spec import JobSpec, parse_job_spec
from scheduler.services import secrets
from scheduler.services.submit_batch import Item, submit_jobs
from scheduler.services.tenants import add_tenant
from scheduler.services.vault import Vault, drop_old_keys, new_key, use_last_key
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import START, Installation
from tests.support.offers import make_spec

VALUE = "hf_correct horse battery staple\n"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """One key."""
    new_key(tmp_path / "keys")
    return Vault(tmp_path / "keys")


def store(installation: Installation, vault: Vault, name: str = "hf", value: str = VALUE) -> None:
    secrets.put_secret(installation.engine, vault, DEFAULT_TENANT, name, value, now=START)


def opened(installation: Installation, vault: Vault, name: str = "hf") -> str:
    return secrets.open_secrets(installation.engine, vault, DEFAULT_TENANT, {"TOKEN": name})["TOKEN"]


def asking(**wanted: str) -> JobSpec:
    return make_spec(run={"command": ["true"], "secrets": wanted})


def test_a_value_is_read_again_and_stands_nowhere(installation: Installation, vault: Vault) -> None:
    store(installation, vault)
    assert opened(installation, vault) == VALUE
    assert "horse" not in str(installation.scalar("SELECT sealed FROM secrets"))
    store(installation, vault, value="another")
    assert opened(installation, vault) == "another"
    assert [one.name for one in secrets.list_secrets(installation.engine, DEFAULT_TENANT)] == ["hf"]
    secrets.delete_secret(installation.engine, DEFAULT_TENANT, "hf")
    with pytest.raises(NotFound):
        secrets.delete_secret(installation.engine, DEFAULT_TENANT, "hf")


def test_a_new_key_opens_nothing_old_until_all_is_sealed_anew(installation: Installation, vault: Vault) -> None:
    assert vault.key_file is not None
    store(installation, vault)
    old_key = vault.key_file.read_text()
    new_key(vault.key_file)
    assert stat.S_IMODE(vault.key_file.stat().st_mode) == 0o600
    store(installation, vault, "second")
    assert opened(installation, vault) == VALUE  # by the older key
    assert secrets.seal_all_anew(installation.engine, vault) == 2
    assert drop_old_keys(vault.key_file) == 1
    assert opened(installation, vault) == opened(installation, vault, "second") == VALUE
    vault.key_file.write_text(old_key)
    with pytest.raises(SecretsUnavailable, match="no key in"):
        opened(installation, vault)


def test_a_key_can_be_changed_without_anybody_missing_it(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    """Two machines with a file each, carried from the one to the other."""
    assert vault.key_file is not None
    there = Vault(tmp_path / "there")

    def carry() -> None:
        (tmp_path / "there").write_text((tmp_path / "keys").read_text())

    def both_open() -> bool:
        return opened(installation, vault) == opened(installation, there) == VALUE

    carry()
    store(installation, vault)
    new_key(vault.key_file, seals=False)
    store(installation, vault)
    assert both_open()
    carry()
    use_last_key(vault.key_file)
    secrets.seal_all_anew(installation.engine, vault)
    assert both_open()
    store(installation, there, "set-there-meanwhile")
    carry()
    secrets.seal_all_anew(installation.engine, vault)
    assert drop_old_keys(vault.key_file) == 1
    assert both_open()
    assert opened(installation, vault, "set-there-meanwhile") == VALUE


def test_a_row_that_is_copied_opens_nothing(installation: Installation, vault: Vault) -> None:
    store(installation, vault)
    other = add_tenant(installation.engine, "other").id
    with installation.engine.begin() as connection:
        copied = "INSERT INTO secrets SELECT :other, name, sealed, created_at, updated_at FROM secrets"
        connection.execute(sa.text(copied), {"other": other})
    with pytest.raises(SecretsUnavailable, match="under another name"):
        secrets.open_secrets(installation.engine, vault, other, {"T": "hf"})


@pytest.mark.parametrize("content", [None, "", "not a key", "é"])
def test_a_key_that_is_missing_or_broken_is_one_sentence(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "keys").write_text(content)
    with pytest.raises(SecretsUnavailable) as refused:
        Vault(tmp_path / "keys").seal(DEFAULT_TENANT, "hf", VALUE)
    assert "horse" not in str(refused.value)
    assert content is None or not content or content not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"), [("", "v"), ("a/b", "v"), ("-a", "v"), ("a", ""), ("a", "\0"), ("a", "é" * 16_385)]
)
def test_what_no_variable_can_hold_is_refused(installation: Installation, vault: Vault, name: str, value: str) -> None:
    with pytest.raises(InvalidSecret):
        store(installation, vault, name, value)


def test_a_job_that_asks_for_what_is_not_there_is_refused(installation: Installation, vault: Vault) -> None:
    store(installation, vault)
    assert installation.submit(asking(TOKEN="hf")).job.spec["run"]["secrets"] == {"TOKEN": "hf"}
    with pytest.raises(
        UnknownSecret, match=r"no secret named wandb is stored; store it with .pythia secrets set wandb."
    ):
        installation.submit(asking(TOKEN="hf", KEY="wandb"))
    other = add_tenant(installation.engine, "other").id
    with pytest.raises(UnknownSecret):
        installation.submit(asking(TOKEN="hf"), tenant_id=other)
    both = [Item(asking(TOKEN="hf"), None), Item(asking(KEY="wandb"), None)]
    fine, refused = submit_jobs(
        installation.engine, installation.knowledge, both, tenant_id=DEFAULT_TENANT, now=installation.now
    )
    assert not isinstance(fine, PythiaError)
    assert isinstance(refused, UnknownSecret)


def test_secrets_may_be_listed_by_the_name_of_their_variable() -> None:
    raw = {"workload": {"type": "custom", "kind": "x", "runtime_s": 1}}
    spec = parse_job_spec({**raw, "run": {"command": ["true"], "secrets": ["HF_TOKEN"]}})
    assert spec.run is not None
    assert spec.run.secrets == {"HF_TOKEN": "HF_TOKEN"}
    for run in ({"secrets": ["a-b"]}, {"secrets": {"A": "../b"}}, {"secrets": ["A"], "env": {"A": "1"}},
                {"secrets": {"PYTHIA_JOB_ID": "a"}}, {"secrets": [1]}):  # fmt: skip
        with pytest.raises(InvalidSpec):
            parse_job_spec({**raw, "run": {"command": ["true"], **run}})
