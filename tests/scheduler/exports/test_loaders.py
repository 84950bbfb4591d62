"""The engines' own loaders understand what is written for them as it was meant."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from predictor.hardware import load_gpu_types
from scheduler.exports.files import task_file
from scheduler.exports.names import Engine, card, nameable, sellers
from scheduler.exports.rental import Rental
from tests.scheduler.exports.cases import make_rental

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-engines" / "bin" / "python"

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason="dstack and SkyPilot are not here: run `make engines`")

ODD = ["sh", "-c", "echo \"$HOME\" '${{ secrets.X }}' $$ ${{ a }} `id`", "two\nlines", "$", "ü"]
CASES: dict[str, Rental] = {
    "plain": make_rental(),
    "odd": make_rental(ODD, run={"env": {"A": "$B $$ ${{ secrets.X }}", "HF_TOKEN": "hunter2"}}),
    "limited": make_rental(spot=True, constraints={"max_runtime_s": 3600}),
    "large": make_rental(gpu_count=16, max_nodes=2),
    "imageless": make_rental(run={"image": None}),
    "aws": make_rental(provider="aws", region="us-east-1", instance_type="p5.48xlarge"),
}
BY_SELLER = {f"seller-{name}": make_rental(provider=name, gpu_type="H100-SXM") for name in sellers(Engine.DSTACK)}
BY_CARD = {f"card-{name.replace('/', '_')}": make_rental(gpu_type=name) for name in sorted(nameable(Engine.DSTACK))}


@pytest.fixture(scope="module")
def understood(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each engine read, by engine and case; both are asked once, since SkyPilot takes seconds to begin."""
    folder, home = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("home")
    for name, rental in (CASES | BY_SELLER | BY_CARD).items():
        (folder / f"dstack-{name}").write_text(task_file(Engine.DSTACK, rental, "said"))
    for name, rental in CASES.items():
        (folder / f"skypilot-{name}").write_text(task_file(Engine.SKYPILOT, rental, "said"))
    loader = ROOT / "tests" / "support" / "engine_loader.py"
    done = subprocess.run(
        [PYTHON, loader, folder],
        env={"PATH": os.defpath, "HOME": str(home), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line.removeprefix("read ")) for line in done.stdout.splitlines() if line.startswith("read ")]
    return dict(zip(sorted(path.name for path in folder.iterdir()), answers, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_dstack_reads_what_was_meant(understood: dict[str, dict[str, Any]], name: str) -> None:
    rental, read = CASES[name], understood[f"dstack-{name}"]
    assert "error" not in read
    assert (read["type"], read["name_is_valid"], read["image"]) == ("task", True, rental.image)
    assert read["commands"] == [rental.command_line()], "after dstack has put its variables in"
    assert read["env"] == {**rental.env, **dict.fromkeys(rental.secrets)}
    assert read["gpu"] == [["H100", 80]]
    assert read["gpu_count"] == [rental.gpus_per_node] * 2
    assert read["regions"] == [rental.region]
    assert read["spot"] == ("spot" if rental.spot else "on-demand")
    assert read["max_price"] == rental.usd_per_node_hour
    assert read["max_duration_s"] == rental.limit_s
    assert read["nodes"] == rental.nodes


@pytest.mark.parametrize("name", BY_SELLER)
def test_dstack_has_every_provider_that_we_send_it_to(understood: dict[str, dict[str, Any]], name: str) -> None:
    assert understood[f"dstack-{name}"].get("backends") == [sellers(Engine.DSTACK)[BY_SELLER[name].provider].name]


@pytest.mark.parametrize("name", BY_CARD)
def test_dstack_takes_each_of_our_cards_for_one_card_of_its_own(
    understood: dict[str, dict[str, Any]], name: str
) -> None:
    rental = BY_CARD[name]
    ((known, memory),) = understood[f"dstack-{name}"]["gpu"]
    assert known == card(Engine.DSTACK, "*", rental.gpu_type)
    assert abs(memory / load_gpu_types().get(rental.gpu_type).memory_gb_nominal - 1) < 0.1


@pytest.mark.parametrize("name", CASES)
def test_skypilot_reads_what_was_meant(understood: dict[str, dict[str, Any]], name: str) -> None:
    rental, read = CASES[name], understood[f"skypilot-{name}"]
    assert "error" not in read
    assert read["image"] == (None if rental.image is None else f"docker:{rental.image}")
    assert read["run"].rstrip("\n").endswith(rental.command_line().removeprefix("exec ").rstrip("\n"))
    assert read["env"] == dict(rental.env)
    assert (read["cloud"], read["region"]) == (rental.provider, rental.region)
    assert read["gpu"] == {"H100": rental.gpus_per_node}
    assert (read["spot"], read["max_price"]) == (rental.spot, rental.usd_per_node_hour)
    assert read["nodes"] == rental.nodes
    assert read["down"] is True


def test_skypilots_names_at_runpod_are_its_own(understood: dict[str, dict[str, Any]]) -> None:
    ours = {
        card(Engine.SKYPILOT, "runpod", name)
        for name in ("A100-80GB-SXM", "H100-SXM", "H100-NVL", "H200-SXM", "RTX6000Ada")
    }
    assert ours <= set(understood["skypilot-plain"]["runpod"])
