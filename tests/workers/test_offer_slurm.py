"""A real cluster's nodes in the inventory."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from scheduler.services.import_offers import list_offers
from scheduler.storage.engine import Engine, make_engine
from tests.support.postgres import PostgresServer
from tests.support.slurm import Cluster
from workers.offer_slurm import main


@pytest.fixture
def inventory(
    slurm_cluster: Cluster, embedded_postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    with embedded_postgres_server.migrated_database() as url:
        monkeypatch.setenv("PYTHIA_DATABASE_URL", url)
        engine = make_engine(url)
        yield engine
        engine.dispose()


def capacities(engine: Engine) -> dict[tuple[str, str, str], int]:
    return {(one.region, one.instance_type, one.gpu_type): one.capacity_gpus for one in list_offers(engine)}


def test_a_cluster_is_offered_as_it_is_today(
    inventory: Engine, slurm_cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["stored"], said["gpus"], said["nodes_in_several_partitions"]) == (5, 20, ["n1", "n2"])
    assert main(["--partition=gpu", "--gpu-type=a100=A100-80GB-SXM", "--gpu-type=h100=H100-PCIe"]) == 0
    assert "2 offers stored, with 8 GPUs\n2 offers have no capacity any more" in capsys.readouterr().out
    slurm_cluster.command("scontrol", "update", "nodename=n2", "state=drain", "reason=test")
    try:
        assert main(["--partition=gpu", "--gpu-type=a100=A100-80GB-SXM", "--gpu-type=h100=H100-PCIe"]) == 0
    finally:
        slurm_cluster.resume("n2")
    found = capacities(inventory)
    assert found["gpu", "gpu:a100:4", "A100-80GB-SXM"] == 4
    assert found["gpu", "gpu:h100:4", "H100-PCIe"] == 0
    assert found["gpu", "gpu:a100:4", "A100"] == 0
    assert found["urgent", "gpu:a100:4", "A100"] == 4  # another partition was not asked about


def test_nodes_that_one_job_may_have_are_offered_together(inventory: Engine) -> None:
    assert main(["--partition=wide", "--max-nodes=8", "--interconnect-gbps=400"]) == 0
    (offer,) = list_offers(inventory)
    assert (offer.gpu_type, offer.node_gpus, offer.capacity_gpus) == ("L40S", 2, 4)
    assert (offer.max_nodes, offer.interconnect_gbps, offer.counts()) == (2, 400.0, (1, 2, 4))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--partition=nowhere", "the cluster has no nodes to offer in nowhere: see `sinfo --Node`"),
        ("--usd-per-gpu-hour=cheap", "--usd-per-gpu-hour is 'cheap', not a price from 0 to 1000"),
        ("--usd-per-gpu-hour=NaN", "--usd-per-gpu-hour is 'NaN', not a price from 0 to 1000"),
        ("--max-nodes=0", "--max-nodes is '0', not a number of nodes from 1 to 9999"),
        ("--max-nodes=many", "--max-nodes is 'many', not a number of nodes from 1 to 9999"),
        ("--interconnect-gbps=0", "--interconnect-gbps is '0', not a rate between nodes in Gbit/s such as 400"),
        ("--interconnect-gbps=nan", "--interconnect-gbps is 'nan', not a rate between nodes in Gbit/s such as 400"),
        ("--country=Finland", "--country is 'Finland', not an ISO code of two letters such as FI"),
        ("--gpu-type=a100", "--gpu-type is 'a100', not NAME=TYPE such as a100=A100-80GB-SXM"),
        ("--gpu-type=a100=A1000000", "GPU type 'A1000000' is not in the catalogue"),
    ],
)
def test_what_cannot_be_offered_is_one_sentence(
    inventory: Engine, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    assert main([option]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("pythia: ")
    assert said in complaint
    assert complaint.count("\n") == 1
    assert not list_offers(inventory)


def test_a_cluster_that_does_not_answer_is_one_sentence(
    inventory: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([]) == 2
    assert capsys.readouterr().err == "pythia: sinfo was not found: install Slurm's commands on this worker\n"
