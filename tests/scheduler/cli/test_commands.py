"""Commands against a live server: what they print, their JSON, their exit codes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from predictor.facts import datasets_dir
from scheduler.api.schemas.observations import EXAMPLE
from scheduler.domain.attempt import AttemptResult, LogChunk
from scheduler.domain.machines import Meter
from scheduler.domain.states import Outcome
from scheduler.services import attempts
from scheduler.services.seed import PRICES
from scheduler.storage.engine import Engine
from tests.scheduler.cli.conftest import Pythia
from tests.support.api import NOW

pytestmark = pytest.mark.usefixtures("server")

Worker = Callable[[str, Outcome], None]


@pytest.fixture
def worker(engine: Engine, pythia: Pythia) -> Worker:
    """Ends a job's attempt as if it had run and printed."""

    def end(job_id: str, outcome: Outcome) -> None:
        attempt_id = UUID(pythia("job", job_id, "--json").json["attempts"][0]["id"])
        run_attempt(engine, attempt_id, outcome)

    return end


def submitted(pythia: Pythia, job_file: str) -> str:
    return str(pythia("submit", job_file, "--json").json["id"])


def test_plan_prints_the_table_and_keeps_nothing(pythia: Pythia, job_file: str) -> None:
    said = pythia("plan", job_file)
    assert (said.code, said.err) == (0, "")
    assert "L40S" in said.out
    assert "CHOSEN" in said.out
    assert pythia("jobs", "--json").json["items"] == []


def test_refusal_is_exit_code_3_for_plan_and_submit(pythia: Pythia, refused_file: str) -> None:
    plan, submit = pythia("plan", refused_file), pythia("submit", refused_file)
    assert (plan.code, submit.code) == (3, 3)
    assert "Refused" in plan.out
    assert "infeasible" in submit.out
    assert pythia("plan", refused_file, "--json").json["kind"] == "refusal"


def test_submit_says_the_id_and_where_it_went(pythia: Pythia, job_file: str) -> None:
    said = pythia("submit", job_file)
    assert said.code == 0
    assert str(UUID(said.out.split()[0])) in said.out
    assert "L40S × 1" in said.out


def test_submit_under_one_key_makes_one_job(pythia: Pythia, job_file: str) -> None:
    first, again = (pythia("submit", job_file, "--idempotency-key", "k", "--json").json["id"] for _ in range(2))
    assert first == again


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.COMPLETED, 0), (Outcome.FAILED, 1)])
def test_submit_and_wait_ends_with_the_job_and_says_how(
    pythia: Pythia, job_file: str, engine: Engine, outcome: Outcome, code: int
) -> None:
    working = threading.Thread(target=run_next_attempt, args=(engine, outcome))
    working.start()
    said = pythia("submit", job_file, "--wait")
    working.join()
    assert said.code == code
    assert ("completed" if code == 0 else "failed") in said.err


def run_next_attempt(engine: Engine, outcome: Outcome) -> None:
    """Act as the worker of the next job that is placed."""
    reserved: list[UUID] = []
    while not reserved:
        time.sleep(0.02)
        with engine.connect() as connection:
            reserved = list(connection.execute(sa.text("SELECT id FROM attempts WHERE state = 'reserved'")).scalars())
    run_attempt(engine, reserved[0], outcome)


def run_attempt(engine: Engine, attempt_id: UUID, outcome: Outcome) -> None:
    """Bring a placed attempt to its end, as a worker would."""
    work = attempts.claim(engine, attempt_id, now=NOW, lease_s=60)
    assert work is not None
    assert attempts.mark_starting(engine, attempt_id, work.lease_token, {}, now=NOW, next_poll_at=NOW)
    assert attempts.mark_running(engine, attempt_id, work.lease_token, {}, now=NOW, next_poll_at=NOW)
    chunks = [
        LogChunk(stream="stdout", offset=0, size=7, text="out of\n"),
        LogChunk(stream="stderr", offset=0, size=7, text="trouble"),
    ]
    result = AttemptResult(outcome=outcome, exit_code=0, runtime_s=90.0, peak_vram_gib=21.5, simulated=False)
    assert attempts.finish(engine, attempt_id, result, now=NOW, chunks=chunks)


def test_jobs_lists_newest_first_and_filters(pythia: Pythia, job_file: str, refused_file: str) -> None:
    job_id = submitted(pythia, job_file)
    pythia("submit", refused_file)
    said = pythia("jobs")
    assert [line.split()[1] for line in said.out.splitlines()[1:]] == ["unnamed", "lora"]
    assert [one["id"] for one in pythia("jobs", "--label", "team=x", "--json").json["items"]] == [job_id]
    assert [one["name"] for one in pythia("jobs", "--state", "infeasible", "--json").json["items"]] == ["unnamed"]
    assert "--after" in pythia("jobs", "--limit", "1").out


def test_job_and_explain_show_prediction_beside_measurement(pythia: Pythia, job_file: str, worker: Worker) -> None:
    job_id = submitted(pythia, job_file)
    worker(job_id, Outcome.COMPLETED)
    job, story = pythia("job", job_id), pythia("explain", job_id)
    for said in (job, story):
        assert said.code == 0
        assert "completed" in said.out
        assert "21.5" in said.out
        assert "1m30" in said.out
    assert "Decision 1, placement" in story.out
    assert "CHOSEN" in story.out
    assert "job_submitted" in story.out
    assert set(pythia("explain", job_id, "--json").json) == {"job", "decisions", "attempts", "events"}


def test_a_decision_can_be_made_again_at_its_prices(
    pythia: Pythia, job_file: str, tmp_path: Path, worker: Worker
) -> None:
    job_id = submitted(pythia, job_file)
    worker(job_id, Outcome.COMPLETED)  # what it held would be missed
    (made,) = pythia("explain", job_id, "--json").json["decisions"]
    assert f", inventory {made['inventory_version']}: " in pythia("explain", job_id).out
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(made["spec"]))
    again = pythia("plan", str(spec), "--prices-of", str(made["inventory_version"]), "--json").json
    assert again["candidates"][0]["cost_usd"] == made["candidates"][0]["cost_usd"]
    refused = pythia("plan", job_file, "--prices-of", "soon")
    assert (refused.code, "neither a day" in refused.err) == (2, True)


def test_a_price_released_behind_a_newer_one_says_so(pythia: Pythia, tmp_path: Path) -> None:
    header = (datasets_dir() / PRICES).read_text(encoding="utf-8").splitlines()[0]
    for usd, day in (("0.01", "2026-08-24"), ("2.9", "2026-08-25")):
        line = f"acme,north,FI,EU,FI,H100-SXM-box,H100-SXM,8,{usd},,{day},a list,8"
        (tmp_path / "list.csv").write_text(f"{header}\n{line}\n")
        assert pythia("import-offers", str(tmp_path / "list.csv")).code == 0
    (held,) = pythia("prices", "quarantine", "--json").json["items"]
    said = pythia("prices", "release", held["id"])
    assert said.out.strip() == "released: H100-SXM at acme north; its offer keeps a newer price than that of 2026-08-24"


def test_logs_keep_the_streams_apart(pythia: Pythia, job_file: str, worker: Worker) -> None:
    job_id = submitted(pythia, job_file)
    worker(job_id, Outcome.COMPLETED)
    for arguments in (("logs", job_id), ("logs", job_id, "-f")):
        said = pythia(*arguments)
        assert (said.code, said.out, said.err) == (0, "out of\n", "trouble")
    lines = [json.loads(line) for line in pythia("logs", job_id, "--json").out.splitlines()]
    assert [line["stream"] for line in lines] == ["stdout", "stderr"]


def test_followed_logs_end_when_the_job_does(pythia: Pythia, job_file: str, engine: Engine) -> None:
    job_id = submitted(pythia, job_file)
    working = threading.Timer(0.5, run_next_attempt, args=(engine, Outcome.COMPLETED))
    working.start()
    said = pythia("logs", job_id, "-f")
    working.join()
    assert (said.code, said.out) == (0, "out of\n")


def test_logs_of_all_jobs_are_searched(pythia: Pythia, job_file: str, worker: Worker) -> None:
    job_id = submitted(pythia, job_file)
    worker(job_id, Outcome.COMPLETED)
    said = pythia("logs", "--search", "TROUB", "--since", "9999d")
    assert said.code == 0
    assert said.out.startswith(job_id)
    assert said.out.endswith("  trouble\n")
    assert pythia("logs", job_id, "--search", "troub", "--since", "9999d", "--json").json["lines"] == ["trouble"]
    nothing = pythia("logs", "--search", "no such thing")
    assert (nothing.code, nothing.out) == (0, "")
    assert "holds 'no such thing'" in nothing.err


@pytest.mark.parametrize(
    "arguments", [(), ("--search", "ab", "-f"), ("--search", "ab", "--since", "soon"), ("nonsense", "--search", "ab")]
)
def test_logs_say_what_is_wrong_with_what_is_asked(pythia: Pythia, arguments: tuple[str, ...]) -> None:
    said = pythia("logs", *arguments)
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1


def test_cancel_stops_a_job(pythia: Pythia, job_file: str) -> None:
    job_id = submitted(pythia, job_file)
    assert pythia("cancel", job_id).out.split() == [job_id, "cancelled"]
    assert pythia("job", job_id, "--json").json["state"] == "cancelled"


def test_offers_and_their_import(pythia: Pythia) -> None:
    assert "H100-SXM" in pythia("offers", "--gpu-type", "H100").out
    said = pythia("import-offers", str(datasets_dir() / PRICES), "--json")
    assert said.json["stored"] > 1000
    assert len(pythia("offers", "--json").json) == said.json["stored"] + 2
    said = pythia("import-offers", str(datasets_dir() / PRICES), "--backend", "dstack", "--json")
    assert {one["backend"] for one in pythia("offers", "--provider", "nebius", "--json").json} == {"dstack"}
    assert "dstack rents nothing from akash" in said.json["skipped"]
    assert pythia("import-offers", str(datasets_dir() / PRICES), "--backend", "abacus").code == 2


def test_bad_price_list_is_exit_code_2_with_its_line(pythia: Pythia, tmp_path: Path) -> None:
    lines = (datasets_dir() / PRICES).read_text().splitlines()[:2]
    bad = tmp_path / "prices.csv"
    bad.write_text("\n".join([lines[0], lines[1].replace(",1.08,", ",-1.08,")]))
    said = pythia("import-offers", str(bad))
    assert (said.code, said.out) == (2, "")
    assert "line 2" in said.err


def test_observations_are_imported_but_for_the_bad_lines(pythia: Pythia, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = json.dumps(EXAMPLE)
    file.write_text(f'{good}\n\nnot json\n{json.dumps(EXAMPLE | {"gpu_type": "Z9", "id": "b"})}\n{{"a": NaN}}\n')
    said = pythia("import-observations", str(file), "--json")
    assert (said.code, said.json["imported"]) == (1, 1)
    assert [one["line"] for one in said.json["refused"]] == [3, 4, 5]
    assert "known before" in pythia("import-observations", str(file)).out


def test_models_shows_the_one_in_use(pythia: Pythia) -> None:
    said = pythia("models")
    assert (said.code, said.out.splitlines()[1].split()[1]) == (0, "champion")
    assert pythia("models", "promote", "none").code == 2


@pytest.mark.parametrize(
    ("arguments", "said_what"),
    [
        (("job", "nonsense"), "not a job's id"),
        (("job", str(uuid4())), "no job"),
        (("plan", "/no/such/file.yaml"), "No such file"),
        (("jobs", "--label", "team"), "key=value"),
        (("jobs", "--state", "asleep"), "state"),
        (("offers", "--gpu-type", "Z9"), "Z9"),
        (("import-offers", "/no/such/file"), "No such file"),
        (("submit",), "JOB.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_exit_code_2_and_one_sentence(pythia: Pythia, arguments: tuple[str, ...], said_what: str) -> None:
    said = pythia(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said_what in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_pools_and_billing_say_when_there_is_nothing(pythia: Pythia) -> None:
    assert pythia("pools").out == "no machine is rented\n"
    assert pythia("billing").out == "nothing was booked in that time\ntotal $0.00\n"
    refused = pythia("billing", "--since", "monday")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)


def test_pools_and_billing_show_machines_and_what_they_cost(pythia: Pythia, job_file: str, engine: Engine) -> None:
    job_id = submitted(pythia, job_file)
    attempt_id = UUID(pythia("job", job_id, "--json").json["attempts"][0]["id"])
    work = attempts.claim(engine, attempt_id, now=NOW, lease_s=60)
    assert work is not None
    starting = attempts.mark_starting(engine, attempt_id, work.lease_token, {}, now=NOW, next_poll_at=NOW)
    assert starting is not None
    assert "lora try 1" in pythia("pools").out
    assert starting.machine is not None
    used = Meter(from_s=0.0, to_s=3600.0)
    result = AttemptResult(outcome=Outcome.COMPLETED, meter=used, simulated=False)
    attempts.finish(engine, attempt_id, result, now=NOW - timedelta(seconds=1))
    for by, shown in (("day", "2026-11-25"), ("job", job_id), ("attempt", "completed"), ("gpu_type", "L40S")):
        said = pythia("billing", "--by", by)
        assert shown in said.out
        assert said.out.endswith("total $1.00\n")
    assert pythia("billing", "--json").json["items"][0]["usd"] == "1.00"
