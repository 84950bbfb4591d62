"""`pythia secrets`: values come from stdin or a file and are never printed."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scheduler.services.vault import new_key
from tests.scheduler.cli.conftest import Pythia

VALUE = "correct horse battery staple"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pipes a value in."""
    piped = SimpleNamespace(buffer=io.BytesIO(VALUE.encode() + b"\n"), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", piped)


@pytest.mark.usefixtures("server", "typed")
def test_a_secret_is_set_listed_and_deleted(pythia: Pythia, tmp_path: Path) -> None:
    assert pythia("secrets", "list").out == "no secret is stored\n"
    said = pythia("secrets", "set", "hf")
    assert (said.code, said.out) == (0, "stored hf\n")
    (tmp_path / "value").write_text(VALUE)
    assert pythia("secrets", "set", "hf2", "--file", str(tmp_path / "value"), "--json").json["name"] == "hf2"
    listed = pythia("secrets", "list")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["NAME", "hf", "hf2"]
    assert "horse" not in listed.out + pythia("secrets", "list", "--json").out
    assert pythia("secrets", "delete", "hf").out == "deleted hf\n"
    again = pythia("secrets", "delete", "hf")
    assert (again.code, again.err) == (2, "pythia: no secret hf\n")


@pytest.mark.usefixtures("server")
def test_a_file_that_cannot_be_read_is_one_sentence(pythia: Pythia, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "binary"):
        said = pythia("secrets", "set", "hf", "--file", str(tmp_path / name))
        assert said.code == 2
        assert len(said.err.splitlines()) == 1


def test_a_key_is_made_once_for_its_owner_alone(
    pythia: Pythia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "keys"
    monkeypatch.setenv("PYTHIA_SECRETS_KEY_FILE", str(path))
    assert pythia("db", "secrets-key", "--json").json == {"file": str(path), "made": True}
    before = path.read_text()
    assert pythia("db", "secrets-key").code == 0
    assert path.read_text() == before
    assert path.stat().st_mode & 0o077 == 0


def test_all_is_sealed_anew_with_a_new_key(
    pythia: Pythia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("PYTHIA_SECRETS_KEY_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("PYTHIA_DATABASE_URL", database_url.replace("postgresql+psycopg", "postgresql"))
    new_key(tmp_path / "keys")
    before = (tmp_path / "keys").read_text()
    said = pythia("db", "rotate-secrets", "--new-key", "--drop-old", "--json")
    assert said.json == {"sealed": 0, "dropped_keys": 1}
    assert before.strip() not in (tmp_path / "keys").read_text()
