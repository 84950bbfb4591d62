"""The command line against a live server."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from scheduler.cli.main import main
from scheduler.services.api_keys import make_key
from scheduler.services.vault import Vault, new_key
from scheduler.storage.engine import Engine, make_engine
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.api import World, served, small_api
from tests.support.postgres import PostgresServer
from tests.support.predictor import FixedPredictor


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


Pythia = Callable[..., Said]


@pytest.fixture
def pythia(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pythia:
    """Runs `pythia …` in this process, in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PYTHIA_URL", "PYTHIA_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Said:
        capfd.readouterr()
        code = main(arguments)
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def engine(embedded_postgres_server: PostgresServer) -> Iterator[Engine]:
    """A fresh database."""
    with embedded_postgres_server.migrated_database() as url:
        engine = make_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture
def server_keys(tmp_path: Path) -> Path:
    """The file with the server's key for secrets."""
    new_key(tmp_path / "server.key")
    return tmp_path / "server.key"


@pytest.fixture
def server(engine: Engine, pythia: Pythia, server_keys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A live server that the command line finds; nothing runs the jobs that are placed there."""
    # it shares this process, and what it logs must not stand in a command's output
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    app = small_api(engine, FixedPredictor(), World())
    app.state.context = dataclasses.replace(app.state.context, vault=Vault(server_keys))
    with served(app) as url:
        monkeypatch.setenv("PYTHIA_URL", url)
        monkeypatch.setenv("PYTHIA_API_KEY", make_key(engine, DEFAULT_TENANT, "test"))
        yield url
    structlog.reset_defaults()


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    """A job that fits everywhere."""
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: lora\n"
        "workload: {type: training, method: lora, model: meta-llama/Llama-3.1-8B, num_steps: 100}\n"
        "run: {command: ['true']}\n"
        "labels: {team: x}\n"
    )
    return str(path)


@pytest.fixture
def refused_file(tmp_path: Path) -> str:
    """A job that may run nowhere."""
    path = tmp_path / "refused.yaml"
    path.write_text(
        "workload: {type: training, method: lora, model: meta-llama/Llama-3.1-8B, num_steps: 100}\n"
        "run: {command: ['true']}\n"
        "constraints: {providers: [nobody]}\n"
    )
    return str(path)
