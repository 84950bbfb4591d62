"""What is written for dstack and SkyPilot: the placement and the command, exactly, and no secret."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import NothingToExport
from scheduler.exports.dstack import dstack_configuration, dstack_task
from scheduler.exports.files import task_file
from scheduler.exports.names import Engine
from scheduler.exports.skypilot import skypilot_task
from tests.scheduler.exports.cases import make_rental


def test_a_dstack_task_says_where_on_what_and_for_how_much() -> None:
    task = dstack_task(make_rental(constraints={"max_runtime_s": 7200.5}))
    assert task["backends"] == ["nebius"]
    assert task["regions"] == ["eu-north1"]
    assert task["resources"]["gpu"] == {"vendor": "nvidia", "name": "H100", "memory": "72.0GB..88.0GB", "count": 8}
    assert (task["spot_policy"], task["max_price"], task["max_duration"]) == ("on-demand", 23.6, "7201s")
    assert task["image"] == "acme/train:1"


def test_a_skypilot_task_says_the_same() -> None:
    task = skypilot_task(make_rental(spot=True, constraints={"max_runtime_s": 7200.5}))
    resources = task["resources"]
    assert resources["infra"] == "nebius/eu-north1"
    assert resources["accelerators"] == {"H100": 8}
    assert (resources["use_spot"], resources["max_hourly_cost"]) == (True, 23.6)
    assert resources["image_id"] == "docker:acme/train:1"
    assert resources["autostop"]["down"] is True, "a machine that nobody takes down is paid for ever"
    assert task["run"] == "exec timeout --kill-after=30 7201 python train.py\n"


def test_a_price_is_rounded_up_to_the_cent_that_buys_it() -> None:
    assert make_rental(gpu_count=1, micros=1_234_567).cents_per_node_hour == 124


def test_a_placement_on_several_machines_is_a_task_of_so_many_nodes() -> None:
    rental = make_rental(gpu_count=16, max_nodes=2)
    assert (rental.nodes, rental.gpus_per_node, rental.cents_per_node_hour) == (2, 8, 2360)
    assert dstack_task(rental)["nodes"] == 2
    assert skypilot_task(rental)["num_nodes"] == 2
    assert "DSTACK_NODE_RANK" in task_file(Engine.DSTACK, rental, "")


def test_a_card_has_the_name_that_the_provider_gives_it() -> None:
    assert skypilot_task(make_rental(provider="runpod"))["resources"]["accelerators"] == {"H100-SXM": 8}


def test_machines_are_named_where_both_lists_call_them_the_same() -> None:
    rental = make_rental(provider="aws", region="us-east-1", instance_type="p5.48xlarge")
    assert dstack_task(rental)["instance_types"] == ["p5.48xlarge"]
    assert skypilot_task(rental)["resources"]["instance_type"] == "p5.48xlarge"
    assert "instance_types" not in dstack_task(make_rental())


def test_a_part_of_a_machine_is_not_called_by_the_name_of_the_whole() -> None:
    rental = make_rental(provider="gcp", region="us-central1", instance_type="a3-highgpu-8g", gpu_count=2)
    assert "instance_types" not in dstack_task(rental)
    assert "instance_type" not in skypilot_task(rental)["resources"]


SECRETS = ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password", "OPENAI_API_KEY", "GOOGLE_CREDENTIALS", "WANDB_API_KEY"]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("engine", list(Engine))
def test_the_value_of_a_secret_is_not_written(engine: Engine, name: str) -> None:
    text = task_file(engine, make_rental(run={"env": {name: "hunter2", "BATCH": "4"}}), "said")
    assert "hunter2" not in text
    body = yaml.safe_load(text)
    if engine is Engine.DSTACK:
        assert body["env"] == ["BATCH=4", name]
    else:
        assert (body["envs"], body["secrets"]) == ({"BATCH": "4"}, {name: None})
    assert name in text.partition("\n")[2].splitlines()[0], "whoever launches it is told to give a value"


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "PASSWORDLESS"])
def test_a_name_that_only_sounds_like_a_secret_keeps_its_value(name: str) -> None:
    assert make_rental(run={"env": {name: "1"}}).env == {name: "1"}


WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), min_size=1, max_size=5)


@given(WORDS)
def test_a_shell_hands_every_word_on_as_it_was(words: list[str]) -> None:
    line = make_rental(["printf", "%s\\0", *words]).command_line()
    printed = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, timeout=30).stdout
    assert printed.split(b"\0")[:-1] == [word.encode() for word in words]


ADDRESS = "${{ groups[0].nodes[0].IP_ADDRESS }} and ${{groups[9].x}}"


def test_a_word_that_looks_like_an_address_of_dstacks_stays_a_word() -> None:
    rental = make_rental(["printf", "%s", ADDRESS])
    (line,) = dstack_configuration(rental, {})["commands"]
    assert "${{" not in line, "a server would put an address there"
    assert dstack_task(rental)["commands"] == [line.replace("$", "$$")], "the command line makes one of two"
    printed = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, timeout=30, text=True).stdout
    assert printed == ADDRESS


def test_a_live_run_is_the_file_with_every_value_in_it() -> None:
    rental = make_rental(run={"env": {"HF_TOKEN": "hunter2", "BATCH": "$4"}})
    live, file = dstack_configuration(rental, {"HF_TOKEN": "hunter2"}), dstack_task(rental)
    assert live.pop("env") == {"BATCH": "$$4", "HF_TOKEN": "hunter2"}
    assert file.pop("env") == ["BATCH=$$4", "HF_TOKEN"]
    assert live == file


@pytest.mark.parametrize("folder", ["/srv/acme", "it's; rm -rf $HOME && exec x"])
def test_the_command_runs_where_it_was_asked_to(folder: str, tmp_path: Any) -> None:
    place = tmp_path / folder.replace("/", "_")
    place.mkdir()
    line = make_rental(["pwd"], run={"working_dir": str(place)}).command_line()
    printed = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, timeout=30, text=True).stdout
    assert printed == f"{place}\n"


@given(st.text(max_size=60))
def test_any_name_becomes_one_that_the_engines_take(name: str) -> None:
    taken = make_rental(name=name or "x").name
    assert taken[0].isalpha()
    assert 2 <= len(taken) <= 41
    assert set(taken) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert taken[-1] != "-"


def test_nothing_that_is_said_can_leave_its_line() -> None:
    text = task_file(Engine.DSTACK, make_rental(), "planned\nresources: {gpu: B200}")
    assert yaml.safe_load(text)["resources"]["gpu"]["name"] == "H100"
    assert text.startswith("# planned resources:")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"provider": "akash"}, "dstack rents nothing from akash; it knows aws"),
        ({"gpu_type": "A10/3", "node_gpus": 1, "sold_gpus": (1,), "gpu_count": 1}, "A10/3 is no whole GPU"),
        ({"gpu_type": "CPU"}, "CPU is no whole GPU"),
        ({"gpu_type": "MI210"}, "what dstack calls MI210 is not known"),
    ],
)
def test_what_cannot_be_rented_is_refused_with_the_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NothingToExport, match=said):
        dstack_task(make_rental(**changes))
