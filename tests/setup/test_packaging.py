"""What is pinned is what is declared, and an installed wheel works far from the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pinned() -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    return {line.partition("==")[0].lower(): line.partition("==")[2] for line in lines}


def test_the_lock_pins_versions_and_names_no_place() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.+!]+( ; .+)?", line), line


def test_everything_declared_is_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.match(r"[A-Za-z0-9-]+", requirement)[0].lower() for requirement in declared}  # type: ignore[index]
    assert names <= set(pinned())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files; built from a copy, since building litters the tree it is given."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "target"))
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, source)
    for name in ("predictor", "scheduler", "workers", "migrations", "datasets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source)], check=True
    )
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    return target


def outside(installed: Path, directory: Path, code: str) -> str:
    """What code prints when only the installed files are there to import."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHIA_")}
    environment |= {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_packages_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import predictor, scheduler, workers; print(predictor.__file__, scheduler.__file__, workers.__file__)"
    assert all(path.startswith(str(installed)) for path in outside(installed, tmp_path, code).split())


def test_facts_travel_in_the_wheel_and_can_be_read(installed: Path, tmp_path: Path) -> None:
    code = "from predictor.facts import datasets_dir; print(datasets_dir())"
    assert outside(installed, tmp_path, code) == str(installed / "predictor" / "_data" / "datasets")


def test_migrations_travel_in_the_wheel_and_have_one_head(installed: Path, tmp_path: Path) -> None:
    code = "from scheduler.storage.migrate import *; print(migrations_dir(), newest_revision())"
    folder, revision = outside(installed, tmp_path, code).split()
    assert folder == str(installed / "scheduler" / "_data" / "migrations")
    assert list((ROOT / "migrations" / "versions").glob(f"{revision}_*.py")), "the wheel's head is the repository's"


def test_the_wheel_puts_nothing_beside_its_packages(installed: Path) -> None:
    """A top-level `datasets` or `migrations` would shadow other people's packages of that name."""
    visible = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert visible - {"bin"} == {"predictor", "scheduler", "workers"}


def test_no_data_of_the_repository_is_left_out(installed: Path) -> None:
    for folder, place in {
        "datasets": "predictor/_data",
        "predictor": ".",
        "scheduler": ".",
        "migrations": "scheduler/_data",
    }.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                assert (installed / place / path.relative_to(ROOT)).is_file(), f"{path} is not in the wheel"


def test_the_installed_command_starts(installed: Path, tmp_path: Path) -> None:
    code = "from scheduler.cli.main import main; raise SystemExit(main(['--version']))"
    assert outside(installed, tmp_path, code) == "0.1.0"
