"""`pythia tenants`: sharing of cards, switched on and off, and seen in a plan."""

from __future__ import annotations

from pathlib import Path

from tests.scheduler.cli.conftest import Pythia


def test_sharing_is_switched_on_and_off(server: str, pythia: Pythia) -> None:
    assert not pythia("tenants", "add", "ours", "--json").json["share_cards"]
    said = pythia("tenants", "quota", "ours", "--share-cards")
    assert (said.code, "shares cards" in said.out) == (0, True)
    (listed,) = [line for line in pythia("tenants", "list").out.splitlines() if line.startswith("ours")]
    assert listed.endswith("yes")
    assert not pythia("tenants", "quota", "ours", "--no-share-cards", "--json").json["share_cards"]


def test_nothing_to_change_is_said(server: str, pythia: Pythia) -> None:
    said = pythia("tenants", "quota", "default")
    assert (said.code, "--share-cards" in said.err) == (2, True)


def test_a_job_says_on_whose_card_it_would_be(server: str, pythia: Pythia, job_file: str, tmp_path: Path) -> None:
    pythia("tenants", "quota", "default", "--share-cards")
    small = tmp_path / "small.yaml"
    small.write_text(
        "workload: {type: custom, kind: k, vram_gib: 2, runtime_s: 60}\nrun: {command: ['true']}\n"
        "constraints: {gpu_count: 1}\n"
    )
    first = pythia("submit", str(small), "--json").json
    second = pythia("submit", str(small), "--json").json
    candidates = [one for one in second["decision"]["candidates"] if one["sharing"] is not None]
    assert [one["sharing"]["with_jobs"] for one in candidates] == [[first["id"]]]
    assert "shares the card of" in pythia("plan", str(small), "--all").out
