"""The compose file describes services that exist, in an order that works, from one image that has their commands."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
OURS = {"keys", "migrations", "inventory", "api", "relay", "worker", "trainer"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return loaded


def answers(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compose_client() -> list[str] | None:
    """The command of a compose client that is installed here; none of them needs an engine to check a file."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and answers([*command, "version"]):
            return command
    return None


def test_a_compose_client_accepts_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = compose_client()
    if client is None:
        pytest.skip("no compose client is installed here; the other tests check the structure")
    file = COMPOSE
    if client == ["docker-compose"]:  # the older client knows every key but the project's name
        file = tmp_path / "docker-compose.yml"
        file.write_text(COMPOSE.read_text().replace("\nname: pythia\n", "\n"))
    monkeypatch.setenv("POSTGRES_PASSWORD", "secret")
    subprocess.run([*client, "--file", str(file), "config", "--quiet"], check=True)


def test_every_part_is_a_service_of_its_own(services: dict[str, Any]) -> None:
    assert set(services) == OURS | {"postgres", "broker"}
    assert {services[name]["image"] for name in OURS} == {"pythia:0.1.0"}
    assert {services[name]["build"] for name in OURS} == {"."}


def test_every_image_is_pinned_to_a_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        tag = service["image"].partition(":")[2]
        assert any(character.isdigit() for character in tag), f"{name} floats: {service['image']}"


def test_who_waits_for_whom_exists_and_can_be_met(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for target, wait in service.get("depends_on", {}).items():
            assert target in services, f"{name} waits for {target}, which does not exist"
            if wait["condition"] == "service_healthy":
                assert "test" in services[target]["healthcheck"], (
                    f"{name} waits for {target}'s health, which is never told"
                )
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert services[target]["restart"] == "no", f"{name} waits for {target}, which never ends"


def test_nothing_of_ours_starts_before_the_schema_is_there(services: dict[str, Any]) -> None:
    for name in OURS - {"migrations", "keys"}:
        assert services[name]["depends_on"]["migrations"] == {"condition": "service_completed_successfully"}


def test_every_service_that_stays_says_how_it_is(services: dict[str, Any]) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        if service.get("restart") == "no":  # does one thing and ends
            assert check == {"disable": True}
        else:
            assert check["test"][0] == "CMD", f"{name}'s check needs a shell"
            assert {"interval", "timeout", "retries"} <= set(check)


def test_every_command_is_one_the_image_has(services: dict[str, Any]) -> None:
    for name in OURS:
        for program, *words in (services[name]["command"], services[name]["healthcheck"].get("test", ["CMD", ""])[1:]):
            if program == "pythia":
                assert words[0] in COMMANDS, f"{name} calls pythia {words[0]}"
            elif program == "python" and words[0] == "-m":
                assert find_spec(words[1]) is not None, f"{name} calls {words[1]}"


def test_who_seals_or_opens_secrets_has_the_one_key(services: dict[str, Any]) -> None:
    for name in ("keys", "api", "worker"):
        file, (volume,) = services[name]["environment"]["PYTHIA_SECRETS_KEY_FILE"], services[name]["volumes"]
        assert file.startswith(volume.partition(":")[2] + "/"), f"{name} would have a key of its own"
    assert not any("volumes" in services[name] for name in OURS - {"keys", "api", "worker"})
    assert services["api"]["depends_on"]["keys"] == {"condition": "service_completed_successfully"}
    made = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if "install --directory" in line)
    assert "--owner pythia" in made
    assert made.endswith(volume.partition(":")[2])


def test_no_secret_is_written_in_the_file_and_no_port_is_open_to_the_network(services: dict[str, Any]) -> None:
    assert "${POSTGRES_PASSWORD:?" in services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8321:8321"]


def test_the_image_runs_as_a_user_and_holds_every_package() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["pythia"]
    assert sum(line.startswith("FROM ") for line in lines) == 2
    copied = {line.split()[1] for line in lines if line.startswith("COPY ")}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"predictor", "scheduler", "workers", "migrations", "datasets"} <= copied & allowed
