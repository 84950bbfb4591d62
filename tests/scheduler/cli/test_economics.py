"""`pythia economics` as a person types it, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert "requests a day" in file.read_text()
