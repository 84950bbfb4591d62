"""The shape of the code itself, where no linter looks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("predictor", "scheduler", "workers", "migrations")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "its first line says what it is for"
    if path.name == "__init__.py":
        assert len(tree.body) == 1, "an __init__ holds a docstring and no imports"


def test_facts_are_data_and_no_code() -> None:
    assert list((ROOT / "datasets").rglob("*.py")) == []
