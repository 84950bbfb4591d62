"""`pythia replay` from the outside: a table, JSON, a folder of files, and one sentence where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from predictor.hardware import load_gpu_types
from scheduler.cli.main import EXIT_BAD_INPUT, main
from scheduler.replay.plots import can_plot
from scheduler.replay.policies import POLICIES
from scheduler.replay.prices import find_prices
from tests.scheduler.replay.worlds import write_trace


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_trace(tmp_path / "t.csv", [f"job-{n},{60 * n},{1 + n % 2},{500 + 37 * n}" for n in range(30)])


def test_the_report_compares_every_policy_and_says_what_it_rests_on(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(["replay", str(trace), "--json", "--seed", "3", "--report", str(folder)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["basis"], said["jobs"], said["seed"]) == ("modelled", 30, 3)
    assert [one["policy"] for one in said["policies"]] == [one.name for one in POLICIES]
    assert said["policies"][-1]["regret"] == 0.0
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == said
    text = (folder / "report.txt").read_text(encoding="utf-8")
    assert text.startswith("MODELLED: 30 jobs of t.csv, seed 3")
    if can_plot():
        for name in ("cost", "cards", "waits"):
            assert "(modelled)" in (folder / f"{name}.svg").read_text(encoding="utf-8")


def test_a_table_is_printed_for_people_and_only_the_first_jobs_if_asked(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(trace), "--jobs", "5"]) == 0
    out = capsys.readouterr().out
    assert "MODELLED: 5 jobs" in out
    assert all(f"\n{policy.name} " in out for policy in POLICIES)


def test_prices_of_a_day_are_those_known_then() -> None:
    gpus = load_gpu_types()
    everything, may = find_prices(None, gpus), find_prices("2026-05-31", gpus)
    assert 0 < len(may.offers) < len(everything.offers)
    assert max(one.price_date for one in may.offers) <= "2026-05-31"
    assert "of 2026-05-31 or before" in may.says


def test_what_a_seller_asked_in_may_counts_until_its_list_of_august() -> None:
    gpus = load_gpu_types()

    def h100_of_verda(day: str) -> set[int | None]:
        found = find_prices(day, gpus).offers
        assert len({one.id for one in found}) == len(found)
        return {
            one.on_demand_micros_per_gpu_hour for one in found
            if (one.provider, one.gpu_type, one.node_gpus) == ("verda", "H100-SXM", 1)
        }  # fmt: skip

    may, august = h100_of_verda("2026-05-31"), h100_of_verda("2026-08-31")
    assert may == {2_290_000}
    assert august.isdisjoint(may)
    assert august == {
        one.on_demand_micros_per_gpu_hour for one in find_prices(None, gpus).offers
        if (one.provider, one.gpu_type, one.node_gpus) == ("verda", "H100-SXM", 1)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "measured"], "--kind measured needs --observations DIR"),
        (["--prices", "2001-01-01"], "holds no price on demand of 2001-01-01 or before"),
        (["--prices", "nowhere.csv"], "neither a day such as 2026-05-31 nor a price list"),
        (["--reference", "H1000"], "GPU type 'H1000' is not in the catalogue"),
        (["--reference", "MI250"], "no offer sells MI250 on demand"),
        (["--crash-usd", "inf"], "--crash-usd inf is no such sum; give one from 0 to 1,000,000"),
        (["--crash-usd", "nan"], "--crash-usd nan is no such sum"),
        (["--crash-usd", "1e300"], "--crash-usd 1e+300 is no such sum"),
        (["--min-fit", "nan"], "--min-fit nan is no such probability; give one from 0.01 to 0.999"),
        (["--report", "/proc/nope"], "--report /proc/nope cannot be made"),
        (["--report", __file__], "is a file; name a folder"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_sentence(
    trace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["replay", str(trace), *arguments]) == EXIT_BAD_INPUT
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_hostile_trace_is_refused_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_trace(tmp_path / "bad.csv", ["a,0,1,60", "b,0,1,-5"])
    assert main(["replay", str(path)]) == EXIT_BAD_INPUT
    assert "bad.csv line 3: duration_s is -5" in capsys.readouterr().err
