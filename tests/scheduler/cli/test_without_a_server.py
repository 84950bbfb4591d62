"""What the command line says and does where no server answers."""

from __future__ import annotations

import pytest

from tests.scheduler.cli.conftest import Pythia


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://[", "ftp://127.0.0.1"])
def test_unreachable_server_is_one_sentence_that_says_what_to_do(
    pythia: Pythia, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PYTHIA_URL", url)
    said = pythia("jobs")
    assert (said.code, said.out) == (2, "")
    assert "pythia up" in said.err or "PYTHIA_URL" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_plan_without_a_server_names_the_way_without_one(
    pythia: Pythia, monkeypatch: pytest.MonkeyPatch, job_file: str
) -> None:
    monkeypatch.setenv("PYTHIA_URL", "http://127.0.0.1:9")
    assert "--offline" in pythia("plan", job_file).err


def test_offline_plan_needs_neither_server_nor_database(pythia: Pythia, job_file: str) -> None:
    said = pythia("plan", "--offline", job_file)
    assert (said.code, said.err) == (0, "")
    assert "CHOSEN" in said.out
    assert "trained on" in said.out
    plan = pythia("plan", "--offline", "--json", job_file).json
    assert (plan["kind"], plan["id"]) == ("placement", None)


def test_offline_plan_knows_no_prices_of_other_days(pythia: Pythia, job_file: str) -> None:
    said = pythia("plan", "--offline", "--prices-of", "2026-08-23", job_file)
    assert (said.code, "not both" in said.err) == (2, True)


def test_offline_plan_refuses_a_spec_like_a_server(pythia: Pythia, refused_file: str) -> None:
    assert pythia("plan", "--offline", refused_file).code == 3
