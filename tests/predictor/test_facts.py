"""Facts files are found wherever Pythia runs from, and read without mercy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import predictor.errors
import predictor.facts
from predictor.errors import InvalidFacts
from predictor.facts import FactRow, datasets_dir, read_facts

COLUMNS = ("name", "size", "price", "day", "known")
GOOD = "H100,8,2.50,2026-08-23,true"


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{GOOD}\n", encoding="utf-8")
    return path


def rows(path: Path) -> list[FactRow]:
    return list(read_facts(path, COLUMNS, key=("name",)))


def test_the_datasets_folder_is_found_and_holds_what_ships() -> None:
    names = {path.name for path in datasets_dir().iterdir()}
    assert {"gpu_types.csv", "model_architectures.csv", "prices_2026_08.csv", "providers.csv", "README.md"} <= names


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Site-packages with our package, its data inside it, and Hugging Face's `datasets` beside it."""
    package = tmp_path / "predictor"
    (package / "_data" / "datasets").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_data" / "datasets" / "gpu_types.csv").touch()
    for module in (predictor.errors, predictor.facts):
        shutil.copy(str(module.__file__), package)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    return tmp_path


def ask_where(site_packages: Path) -> str:
    code = "from predictor.facts import datasets_dir\ntry: print(datasets_dir())\nexcept Exception as e: print(e)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=site_packages, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_an_installed_package_carries_its_facts_and_leaves_a_foreign_folder_alone(installed: Path) -> None:
    assert ask_where(installed) == str(installed / "predictor" / "_data" / "datasets")


def test_facts_that_are_nowhere_are_missed_with_one_sentence(installed: Path) -> None:
    shutil.rmtree(installed / "predictor" / "_data")
    assert "reinstall Pythia or run from a checkout" in ask_where(installed)


def test_a_row_gives_each_value_as_its_kind(facts: Path) -> None:
    (row,) = rows(facts)
    assert row.line == 2
    assert row.text("name") == "H100"
    assert row.integer("size") == 8
    assert str(row.money("price")) == "2.50"
    assert row.day("day").isoformat() == "2026-08-23"
    assert row.flag("known") is True


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("name,size,price,day\nH100,8,2.5,2026-08-23\n", "facts.csv line 1: column known is missing"),
        (f"{','.join(COLUMNS)},colour\n{GOOD},red\n", "facts.csv line 1: column colour is not expected"),
        (f"{','.join(COLUMNS)},name\n{GOOD},H100\n", "facts.csv line 1: column repeated is not expected"),
        (f"{','.join(COLUMNS)}\n{GOOD}\nh100,1,1,2026-08-23,true\n", "facts.csv line 3: repeats line 2"),
        (f"{','.join(COLUMNS)}\n{GOOD}\nH200,1,1\n", "facts.csv line 3: 3 values for 5 columns"),
        (f'{",".join(COLUMNS)}\n{GOOD}\n"H200,1,1,2026-08-23,true\n', "not readable as CSV"),
        ("", "facts.csv line 1: column name, size, price, day, known is missing"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(facts: Path, content: str, sentence: str) -> None:
    facts.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidFacts, match=sentence):
        rows(facts)


def test_a_file_that_is_not_text_or_not_there_is_refused(facts: Path) -> None:
    facts.write_bytes(f"{','.join(COLUMNS)}\n".encode() + b"\xff\xfe,8,1,2026-08-23,true\n")
    with pytest.raises(InvalidFacts, match="not UTF-8"):
        rows(facts)
    with pytest.raises(InvalidFacts, match="does not exist"):
        rows(facts.with_name("absent.csv"))


@pytest.mark.parametrize(
    ("line", "read", "sentence"),
    [
        ("H100,,2.5,2026-08-23,true", "integer:size", "size is empty"),
        ("H100,many,2.5,2026-08-23,true", "integer:size", "size is 'many', not a number"),
        ("H100,1.5,2.5,2026-08-23,true", "integer:size", "size is 1.5, not a whole number"),
        ("H100,-1,2.5,2026-08-23,true", "integer:size", "size is -1, must be finite and between 0"),
        ("H100,nan,2.5,2026-08-23,true", "number:size", "size is nan, must be finite"),
        ("H100,inf,2.5,2026-08-23,true", "number:size", "size is inf, must be finite"),
        ("H100,8,-2.5,2026-08-23,true", "money:price", "price is -2.5, a price must be above zero"),
        ("H100,8,0,2026-08-23,true", "money:price", "price is 0, a price must be above zero"),
        ("H100,8,cheap,2026-08-23,true", "money:price", "price is 'cheap', not an amount"),
        ("H100,8,NaN,2026-08-23,true", "money:price", "price is NaN"),
        ("H100,8,2.5,23.08.2026,true", "day:day", "day is '23.08.2026', not a date"),
        ("H100,8,2.5,2026-02-30,true", "day:day", "day is '2026-02-30', not a date"),
        ("H100,8,2.5,2026-08-23,yes", "flag:known", "known is 'yes', must be true or false"),
    ],
)
def test_a_value_that_cannot_be_true_is_refused_with_its_line(facts: Path, line: str, read: str, sentence: str) -> None:
    facts.write_text(f"{','.join(COLUMNS)}\n{line}\n", encoding="utf-8")
    (row,) = rows(facts)
    kind, column = read.split(":")
    with pytest.raises(InvalidFacts, match=f"facts.csv line 2: {sentence}"):
        getattr(row, kind)(column)


def test_an_empty_optional_value_is_none(facts: Path) -> None:
    facts.write_text(f"{','.join(COLUMNS)}\nH100,,,,\n", encoding="utf-8")
    (row,) = rows(facts)
    assert row.optional_number("size") is None
    assert row.optional_integer("size") is None
    assert row.optional_money("price") is None
