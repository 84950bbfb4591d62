"""`pythia economics` as a person types it, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.cli.waste_table import WORDS, waste_text
from scheduler.economics.waste_plot import plot_waste
from scheduler.storage.engine import Engine
from tests.scheduler.cli.conftest import Pythia

ASK = (
    "economics", "tokens", "--offline", "--model", "meta-llama/Llama-3.1-8B", "--precision", "fp8", "--input", "1000",
    "--output", "200", "--max-gpus", "1",
)  # fmt: skip


def test_the_best_of_each_card_is_printed(pythia: Pythia) -> None:
    said = pythia(*ASK)
    assert (said.code, said.err) == (0, "")
    assert "H100-SXM" in said.out
    assert "compute / bandwidth" in said.out


def test_json_holds_every_offer(pythia: Pythia) -> None:
    body = pythia(*ASK, "--gpu", "L40S", "--json").json
    assert {one["gpu_type"] for one in body["costs"]} == {"L40S"}
    assert len(body["best_of_each_gpu_type"]) == 1


def test_limits_that_nothing_keeps_are_exit_code_3(pythia: Pythia) -> None:
    said = pythia(*ASK, "--ttft", "0.00001")
    assert said.code == 3
    assert "Nowhere" in said.out


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_picture_is_drawn(pythia: Pythia, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, which is optional")
    file = tmp_path / f"tokens{suffix}"
    assert pythia(*ASK, "--plot", str(file)).code == 0
    assert file.read_bytes()[:4] in (b"<?xm", b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--plot", "tokens.pdf"), "must end in .svg or .png"),
        (("--plot", "/nowhere/tokens.svg"), "no folder"),
        (("--spot", "perhaps"), "spot"),
        (("--gpu", "H9000"), "H9000"),
        (("--input", "0"), "input_length"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(pythia: Pythia, more: tuple[str, ...], said: str) -> None:
    answer = pythia(*ASK, *more)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1


COMPARE = ("economics", "crossover", *ASK[2:])


def test_every_api_is_compared(pythia: Pythia) -> None:
    said = pythia(*COMPARE)
    assert (said.code, said.err) == (0, "")
    assert "CHEAPER FROM" in said.out
    assert "price of the GPUs" in said.out
    assert "As the prefix that all requests share grows" in said.out


def test_one_provider_can_be_asked_for(pythia: Pythia) -> None:
    body = pythia(*COMPARE, "--api", "nebius", "--json").json
    assert {one["provider"] for one in body["crossings"]} == {"nebius"}
    swings = [one["high"] - one["low"] for one in body["moves"]]
    assert swings == sorted(swings, reverse=True)


def test_a_provider_without_the_model_is_answered_with_those_who_have_it(pythia: Pythia) -> None:
    said = pythia(*COMPARE, "--api", "nobody")
    assert said.code == 2
    assert "nebius" in said.err


def test_a_curve_is_drawn(pythia: Pythia, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, which is optional")
    file = tmp_path / "crossover.svg"
    assert pythia(*COMPARE, "--plot", str(file)).code == 0
    drawn = file.read_text()
    assert "requests a day" in drawn
    assert "always from" in drawn
    assert "above 80 never cheaper" in drawn


def test_two_prices_of_one_provider_are_told_apart(pythia: Pythia, tmp_path: Path) -> None:
    row = (
        '{{"provider": "{}", "model_key": "{}", "model": "meta-llama/Llama-3.1-8B", "price_date": "2026-11-20", '
        '"input_usd_per_mtok": "{}", "output_usd_per_mtok": "0.5", "source": "by hand"}}\n'
    )
    prices = tmp_path / "prices.jsonl"
    asked = (("acme", "a/8b", "0.3"), ("acme", "a/8b-turbo", "0.2"), ("other", "b/8b", "0.4"), ("other", "c", "0.4"))
    prices.write_text("".join(row.format(*one) for one in asked))
    said = pythia(*COMPARE, "--prices", str(prices)).out
    first = [line.split("  ")[0] for line in said.splitlines() if line.startswith(("acme", "other"))]
    assert first == ["acme, 8b-turbo", "acme, 8b", "other"]  # equal prices of the same provider are one line


def test_a_curve_that_never_crosses_says_so(pythia: Pythia, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, which is optional")
    prices = tmp_path / "cheap.jsonl"
    prices.write_text(
        '{"provider": "acme", "model_key": "acme/8b", "model": "meta-llama/Llama-3.1-8B", "price_date": "2026-11-20", '
        '"input_usd_per_mtok": "0.0001", "output_usd_per_mtok": "0.0001", "source": "by hand"}\n'
    )
    file = tmp_path / "crossover.svg"
    said = pythia(*COMPARE, "--prices", str(prices), "--plot", str(file))
    assert (said.code, said.err) == (0, "")
    assert "never cheaper" in file.read_text()


FLEET = ("economics", "fleet", *ASK[2:], "--gpu", "L40S")
DAY = ("--mean-rps", "0.5", "--peak-rps", "1")
WITHOUT_LENGTHS = tuple(word for word in FLEET if word not in {"--input", "1000", "--output", "200"})


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    file.write_text("timestamp,input_tokens,output_tokens\n" + "".join(f"{9 * n},{800 + n},200\n" for n in range(100)))
    return file


def test_ways_to_serve_a_day_are_compared(pythia: Pythia) -> None:
    said = pythia(*FLEET, *DAY, "--ttft-p95", "20")
    assert (said.code, said.err) == (0, "")
    for way in ("API", "always on", "scale to zero", "hybrid", "is cheapest"):
        assert way in said.out


def test_a_trace_says_how_long_its_requests_are(pythia: Pythia, trace: Path) -> None:
    body = pythia(*WITHOUT_LENGTHS, "--trace", str(trace), "--json").json
    assert body["traffic"]["requests"] == 100
    assert body["question"]["input_length"] == 849.5
    other = pythia(*FLEET, "--trace", str(trace))
    assert (other.code, len(other.err.strip().splitlines())) == (2, 1)
    assert "--input is 1000, but the requests have 849.5 tokens" in other.err


def test_a_fleet_that_fits_nowhere_is_exit_code_3(pythia: Pythia, trace: Path) -> None:
    said = pythia(*WITHOUT_LENGTHS, "--trace", str(trace), "--ttft", "0.00001")
    assert said.code == 3
    assert "Nowhere" in said.out


def test_a_fleet_is_drawn(pythia: Pythia, trace: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, which is optional")
    file = tmp_path / "fleet.svg"
    assert pythia(*WITHOUT_LENGTHS, "--trace", str(trace), "--plot", str(file)).code == 0
    assert "replicas kept all day" in file.read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "--mean-rps"),
        (("--mean-rps", "1", "--peak-rps", "0.1"), "peak_rps"),
        (("--mean-rps", "1", "--trace", "x.csv"), "contradict"),
        (("--trace", "/nowhere/x.csv"), "cannot be read"),
        (("--mean-rps", "1", "--shape", "round"), "shape"),
        (("--mean-rps", "nan"), "mean_rps"),
        (("--mean-rps", "1", "--reserved-discount", "half"), "reserved_discount"),
    ],
)
def test_a_fleet_that_cannot_be_asked_for_is_one_sentence(pythia: Pythia, more: tuple[str, ...], said: str) -> None:
    answer = pythia(*FLEET, *more)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_day_needs_the_lengths_of_its_requests(pythia: Pythia) -> None:
    answer = pythia(*WITHOUT_LENGTHS, *DAY)
    assert answer.code == 2
    assert "--input is missing" in answer.err


RUN = (
    "economics", "training-run", "--offline", "--model", "meta-llama/Llama-3.1-8B", "--method", "lora", "--samples",
    "20000", "--epochs", "3", "--gradient-checkpointing", "full",
)  # fmt: skip


def test_a_training_run_is_priced(pythia: Pythia) -> None:
    said = pythia(*RUN)
    assert (said.code, said.err) == (0, "")
    assert "Nothing is both cheaper and sooner" in said.out
    assert "H100-SXM" in said.out


def test_options_of_a_training_run_are_sent(pythia: Pythia) -> None:
    body = pythia(*RUN, "--gpus", "2", "--checkpoint-interval", "600", "--failures", "0.001", "--json").json
    assert {one["gpu_count"] for one in body["runs"]} == {2}
    assert {one["p50"]["checkpoint_interval_s"] for one in body["runs"]} == {600}
    assert {one["interruptions_per_hour"] for one in body["runs"]} == {0.002}


def test_a_run_that_fits_nowhere_is_exit_code_3(pythia: Pythia) -> None:
    said = pythia(*RUN[:-6], "--tokens", "1e9", "--method", "full", "--max-gpus", "1", "--gpu", "L40S")
    assert said.code == 3
    assert "does not fit on L40S" in said.out


def test_a_front_is_drawn(pythia: Pythia, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, which is optional")
    file = tmp_path / "run.svg"
    assert pythia(*RUN, "--plot", str(file)).code == 0
    assert "US dollars of the whole run" in file.read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [(("--tokens", "5"), "num_tokens or num_samples"), (("--storage-price", "cheap"), "storage_usd_per_gib_month")],
)
def test_a_run_that_cannot_be_read_is_one_sentence(pythia: Pythia, more: tuple[str, ...], said: str) -> None:
    answer = pythia(*RUN, *more)
    assert answer.code == 2
    assert said in answer.err


def test_waste_is_asked_of_the_server(pythia: Pythia, server: str) -> None:
    said = pythia("economics", "waste", "--since", "2026-11-01")
    assert (said.code, said.err) == (0, "")
    assert "Nothing was paid for in this time." in said.out


def test_waste_of_all_tenants_is_asked_of_the_database(
    pythia: Pythia, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHIA_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    said = pythia("economics", "waste", "--all-tenants", "--json")
    assert (said.code, said.json["tenant"], said.json["causes"]) == (0, None, [])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--since", "yesterday"), "--since is 'yesterday'"),
        (("--tenant", "a", "--all-tenants"), "exclude each other"),
        (("--plot", "waste.pdf"), "must end in .svg or .png"),
    ],
)
def test_waste_that_cannot_be_asked_for_is_one_sentence(pythia: Pythia, more: tuple[str, ...], said: str) -> None:
    answer = pythia("economics", "waste", *more)
    assert answer.code == 2
    assert said in answer.err


SUMS = {"paid_usd": "12.00", "paid_gpu_hours": 10.0, "usd": "5.00", "gpu_hours": 4.0, "gib_hours": 100.0}
WASTED = {
    "since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z", "tenant": None, "simulated": False,
    "total": SUMS, "saving_usd": "3.50", "right_sized_attempts": 1,
    "causes": [
        {"cause": "too_large_card", "usd": "4.00", "gpu_hours": 3.0, "gib_hours": 90.0},
        {"cause": "headroom", "usd": "1.00", "gpu_hours": 1.0, "gib_hours": 10.0},
    ],
    "tenants": [{"name": "default", **SUMS}], "users": [{"name": None, **SUMS}],
    "gpu_types": [{"name": "H100-SXM", **SUMS}],
    "jobs": [{
        "job_id": "01a2", "job": "lora", "tenant": "default", "user": "ada", "gpu_type": "H100-SXM", "gpu_count": 2,
        "cause": "too_large_card", "saving_usd": "3.50",
        "right_size": {"gpu_type": "L40S", "gpu_count": 2, "provider": "acme", "usd": "1.00"}, **SUMS,
    }],
}  # fmt: skip


def test_waste_is_written_with_its_causes_and_jobs() -> None:
    said = waste_text(WASTED)
    assert "Of no use  $5.00 (42 %), 4.0 GPU-hours, 100.0 GiB-hours" in said
    assert "Saving     $3.50 by right-sizing 1 attempt\n" in said
    assert "H100-SXM × 2" in said
    assert "L40S × 2, acme" in said


def test_waste_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, which is optional")
    file = tmp_path / "waste.svg"
    plot_waste(WASTED, WORDS, file)
    assert "by cause" in file.read_text()
    plot_waste(WASTED | {"causes": [], "gpu_types": []}, WORDS, file)
    assert "Nothing was paid for" in file.read_text()


OWNED = (
    "economics", "roi", "--offline", "--gpu", "H100-SXM", "--gpus", "8", "--capital", "30000", "--reserved", "2.1",
    "--utilisation", "0.3..0.6..0.9",
)  # fmt: skip


def test_ways_to_come_by_gpus_are_compared(pythia: Pythia, tmp_path: Path) -> None:
    said = pythia(*OWNED)
    assert (said.code, said.err) == (0, "")
    assert "rent reserved" in said.out
    assert "BUYING PAID BACK" in said.out
    body = pythia(*OWNED, "--months", "12", "--json").json
    assert body["question"]["utilisation"] == {"low": 0.3, "mid": 0.6, "high": 0.9}
    assert {len(one["cumulative_usd"]) for one in body["ways"]} == {13}


def test_ways_are_drawn(pythia: Pythia, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, which is optional")
    file = tmp_path / "roi.svg"
    assert pythia(*OWNED, "--plot", str(file)).code == 0
    assert "months from the decision" in file.read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--growth", "much"), "--growth is 'much'"),
        (("--growth", "0.1..0.2"), "--growth is '0.1..0.2'"),
        (("--growth", "0.3..0.2..0.1"), "must not fall"),
        (("--pue", "0.5"), "pue"),
    ],
)
def test_a_fleet_that_cannot_be_read_is_one_sentence(pythia: Pythia, more: tuple[str, ...], said: str) -> None:
    answer = pythia(*OWNED, *more)
    assert answer.code == 2
    assert said in answer.err


BILLS = """
as_of: 2026-12-01
models:
  - {model: meta-llama/Llama-3.1-8B, precision: fp8, input_length: 1000, output_length: 200, monthly_usd: 9000,
     requests_per_day: 300000, constraints: {gpu_types: [L40S], max_gpus: 1}}
"""


def test_a_questionnaire_is_answered_and_drawn(pythia: Pythia, tmp_path: Path) -> None:
    file, picture = tmp_path / "bills.yaml", tmp_path / "bills.svg"
    file.write_text(BILLS)
    said = pythia("economics", "assess", str(file), "--offline", "--plot", str(picture))
    assert (said.code, said.err) == (0, "")
    assert "It is best to" in said.out
    assert "Shadow traffic should start on" in said.out
    assert "<svg" in picture.read_text()


def test_where_nothing_satisfies_the_constraints_it_is_exit_code_3(pythia: Pythia, tmp_path: Path) -> None:
    file = tmp_path / "bills.yaml"
    file.write_text(BILLS.replace("max_gpus: 1}", "max_gpus: 1, jurisdictions: [AQ]}"))
    said = pythia("economics", "assess", str(file), "--offline")
    assert said.code == 3
    assert "Nothing that is known satisfies the constraints" in said.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "questionnaire"),
        ("models: [", "line"),
        ("models: 3", "models"),
        ("models: [3]", "models"),
        ("models: [{model: none.json, input_length: 1, output_length: 1, monthly_usd: 1}]", "none.json"),
        (BILLS + "colour: red\n", "colour"),
        (BILLS + "as_of: 2026-12-02\n", "twice"),
    ],
)
def test_a_questionnaire_that_cannot_be_read_is_one_sentence(
    pythia: Pythia, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "bills.yaml"
    file.write_text(text)
    answer = pythia("economics", "assess", str(file), "--offline")
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1


OWN = (
    "provider,model_key,model,input_usd_per_mtok,output_usd_per_mtok,cached_input_usd_per_mtok,provider_hq,price_date,"
    "source\nacme,acme/8b,meta-llama/Llama-3.1-8B,30,40,,DE,2026-11-15,contract\n"
)


def test_a_file_of_one_s_own_prices_is_compared_with_and_doubted(pythia: Pythia, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text(OWN)
    said = pythia("economics", "crossover", *ASK[2:], "--prices", str(file))
    assert (said.code, said.err) == (0, "")
    assert "acme" in said.out
    assert "given with the question, of 2026-11-15." in said.out
    assert said.out.count("Doubtful: acme acme/8b") == 2


def test_a_file_of_prices_that_cannot_be_true_is_refused_with_its_line(pythia: Pythia, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text(OWN.replace(",30,", ",-30,"))
    said = pythia("economics", "crossover", *ASK[2:], "--prices", str(file))
    assert said.code == 2
    assert "own.csv line 2" in said.err
    assert "own.csv does not exist" not in said.err
    assert "no-such.csv does not exist" in pythia("economics", "crossover", *ASK[2:], "--prices", "no-such.csv").err


def test_an_api_s_price_of_the_work_is_computed_where_a_model_is_named(pythia: Pythia) -> None:
    work = ("--model", "meta-llama/Llama-3.1-8B", "--precision", "fp8", "--input", "1000", "--output", "200")
    said = pythia("economics", "roi", "--offline", "--gpu", "H100-SXM", "--gpus", "8", *work)
    assert (said.code, said.err) == (0, "")
    assert "api_usd_per_gpu_hour: " in said.out
    assert "requests an hour on each of" in said.out
    assert "API prices: api_token_prices_2026_11.csv" in said.out
    assert "give --model" in pythia(*OWNED, "--input", "5").err
    assert "--model needs" in pythia(*OWNED, "--model", "x").err
