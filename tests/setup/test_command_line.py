"""Every row of the command table loads, and every kind of failure becomes a sentence and an exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from predictor.errors import PythiaError
from scheduler.cli import main as command_line
from scheduler.cli.config import ClientConfig, InvalidConfig, config_path, load_config, read_config, write_config
from scheduler.cli.main import COMMANDS, main


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYTHIA_URL", raising=False)
    monkeypatch.delenv("PYTHIA_API_KEY", raising=False)
    return tmp_path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[str]]:
    """Puts a function into the table; what to call it with."""

    def install(function: Callable[[], None]) -> list[str]:
        monkeypatch.setitem(sys.modules, "tests.stand_in", SimpleNamespace(command=function))
        monkeypatch.setattr(command_line, "COMMANDS", {"try": "tests.stand_in:command"})
        return ["try"]

    return install


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_can_answer_in_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"pythia {name}" in text
    assert "--json" in text or "Commands:" in text


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.split("Commands:")[1]
    assert {line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "} == set(
        COMMANDS
    )


def test_a_misspelt_command_is_one_sentence_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upp"]) == 2
    assert capsys.readouterr().err == "pythia: No such command 'upp'. Did you mean 'up'?\n"


def test_an_error_of_ours_is_its_sentence_and_code_2(
    command: Callable[[Callable[[], None]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        """Refuse."""
        raise PythiaError("the moon is full: wait a day")

    assert main(command(refuse)) == 2
    assert capsys.readouterr().err == "pythia: the moon is full: wait a day\n"


def test_a_chosen_exit_code_is_kept(command: Callable[[Callable[[], None]], list[str]]) -> None:
    def leave() -> None:
        """Leave."""
        raise typer.Exit(3)

    assert main(command(leave)) == 3


def test_ctrl_c_is_130_without_a_traceback(
    command: Callable[[Callable[[], None]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        """Wait."""
        raise KeyboardInterrupt

    assert main(command(interrupted)) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_fault_of_ours_is_one_line_and_can_be_looked_into(
    command: Callable[[Callable[[], None]], list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        """Break."""
        raise ZeroDivisionError("by zero\nand more")

    monkeypatch.delenv("PYTHIA_DEBUG", raising=False)
    assert main(command(broken)) == 70
    assert capsys.readouterr().err == "pythia: unexpected ZeroDivisionError: by zero (PYTHIA_DEBUG=1 shows where)\n"
    monkeypatch.setenv("PYTHIA_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(command(broken))


def test_help_loads_nothing_heavy() -> None:
    heavy = ["alembic", "celery", "fastapi", "lightgbm", "numpy", "sklearn", "sqlalchemy"]
    code = (
        "import sys; from scheduler.cli.main import main; main(['--help']); "
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_config() == ClientConfig(url="http://127.0.0.1:8321", api_key=None)
    write_config(config_path(), url="http://127.0.0.1:9", api_key='odd "key"\\')
    assert load_config() == ClientConfig(url="http://127.0.0.1:9", api_key='odd "key"\\')
    monkeypatch.setenv("PYTHIA_URL", "https://far/")
    monkeypatch.setenv("PYTHIA_API_KEY", "other")
    assert load_config() == ClientConfig(url="https://far", api_key="other")


def test_the_configuration_is_readable_by_its_owner_alone(home: Path) -> None:
    write_config(config_path(), url="http://h", api_key="k")
    assert config_path() == home / ".config" / "pythia" / "config.toml"
    assert config_path().stat().st_mode & 0o777 == 0o600
    assert config_path().parent.stat().st_mode & 0o777 == 0o700


def test_a_damaged_configuration_is_one_sentence(home: Path) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text("url = ")
    with pytest.raises(InvalidConfig, match=r"config\.toml cannot be read"):
        read_config(config_path())
