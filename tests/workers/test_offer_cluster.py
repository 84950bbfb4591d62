"""A cluster's nodes as offers: what pods can get there, by the cards that we know."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from lightkube.models.core_v1 import NodeCondition, NodeSpec, NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node

from scheduler.services.import_offers import list_offers
from scheduler.settings import ClusterGpu
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import serving
from workers.backends.kubernetes.cards import load_cards
from workers.offer_cluster import Terms, bring_up_to_date, cluster_offers, main

TERMS = Terms(cluster="west", usd={"H100-SXM": Decimal("2.10")}, country="DE", provision_s=60, price_date="2026-11-29")
CARDS = load_cards({"A100-80GB-SXM/7": ClusterGpu(resource="nvidia.com/mig-1g.10gb")}).values()


def make_node(
    product: str | None, *, ready: str = "True", cordoned: bool = False, mode: str = "Ready", **allocatable: str
) -> Node:
    resources = {name.replace("__", "/").replace("_", "."): amount for name, amount in allocatable.items()}
    return Node(
        metadata=ObjectMeta(name="n", labels={} if product is None else {"nvidia.com/gpu.product": product}),
        spec=NodeSpec(unschedulable=cordoned or None),
        status=NodeStatus(allocatable=resources, conditions=[NodeCondition(type=mode, status=ready)]),
    )


H100 = "NVIDIA-H100-80GB-HBM3"


def test_nodes_of_one_size_are_one_offer() -> None:
    nodes = [make_node(H100, nvidia_com__gpu="8") for _ in range(3)] + [make_node(H100, nvidia_com__gpu="4")]
    offers, unknown = cluster_offers(nodes, CARDS, TERMS)
    assert unknown == []
    assert [(o.gpu_type, o.node_gpus, o.capacity_gpus, o.sold_gpus) for o in offers] == [
        ("H100-SXM", 4, 4, (1, 2, 4)),
        ("H100-SXM", 8, 24, (1, 2, 4, 8)),
    ]
    assert {(o.backend, o.provider, o.region, o.max_nodes) for o in offers} == {("kubernetes", "kubernetes", "west", 1)}
    assert {o.on_demand_micros_per_gpu_hour for o in offers} == {2_100_000}


def test_a_node_that_takes_no_pods_offers_nothing() -> None:
    nodes = [
        make_node(H100, ready="False", nvidia_com__gpu="8"),
        make_node(H100, ready="Unknown", nvidia_com__gpu="8"),
        make_node(H100, cordoned=True, nvidia_com__gpu="8"),
        make_node(H100, nvidia_com__gpu="0"),
        make_node(None, cpu="64"),
    ]
    assert cluster_offers(nodes[:3] + nodes[4:], CARDS, TERMS) == ([], [])
    assert cluster_offers(nodes[3:4], CARDS, TERMS)[0] == []


def test_parts_of_cards_are_offered_beside_whole_ones() -> None:
    node = make_node("NVIDIA-A100-SXM4-80GB", nvidia_com__gpu="4")
    assert node.status is not None
    node.status.allocatable = {"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "28"}
    offers, _ = cluster_offers([node], CARDS, TERMS)
    assert [(o.gpu_type, o.capacity_gpus) for o in offers] == [("A100-80GB-SXM", 4), ("A100-80GB-SXM/7", 28)]


def test_a_card_that_nobody_named_is_said_and_left_out() -> None:
    offers, unknown = cluster_offers([make_node("NVIDIA-L4-SHARED", nvidia_com__gpu="16")], CARDS, TERMS)
    assert (offers, unknown) == ([], ["NVIDIA-L4-SHARED"]), "a share of a card is no card"


def test_what_is_there_no_more_is_offered_no_more() -> None:
    before, _ = cluster_offers(
        [make_node(H100, nvidia_com__gpu="8"), make_node("NVIDIA-L4", nvidia_com__gpu="1")], CARDS, TERMS
    )
    now, _ = cluster_offers([make_node(H100, nvidia_com__gpu="8")], CARDS, TERMS)
    stored = bring_up_to_date(before, now, "west")
    assert {(o.gpu_type, o.capacity_gpus) for o in stored} == {("H100-SXM", 8), ("L4", 0)}
    assert bring_up_to_date(before, now, "east") == now, "another cluster's offers are left alone"


def test_a_cluster_is_read_over_the_network_into_the_inventory(
    engine: sa.Engine,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = FakeCluster()
    for product in (H100, H100, "NVIDIA-Nobody"):
        cluster.nodes.append({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n", "labels": {"nvidia.com/gpu.product": product}},
            "status": {"allocatable": {"nvidia.com/gpu": "8", "cpu": "96"},
                       "conditions": [{"type": "Ready", "status": "True"}]},
        })  # fmt: skip
    with serving(cluster) as server:
        (tmp_path / "config").write_text(server.kubeconfig())
        monkeypatch.setenv("PYTHIA_DATABASE_URL", database_url)
        monkeypatch.setenv("PYTHIA_KUBERNETES_CONFIG", str(tmp_path / "config"))
        monkeypatch.setenv("PYTHIA_KUBERNETES_NAMESPACE", "ml")
        assert main(["--usd", "H100-SXM=2.10", "--country", "DE"]) == 0
        said = capsys.readouterr()
        assert said.out == "16 × H100-SXM on nodes of 8\n"
        assert "NVIDIA-Nobody" in said.err
        (offer,) = list_offers(engine)
        assert (offer.capacity_gpus, offer.country, offer.backend) == (16, "DE", "kubernetes")
        server.down = True
        assert main([]) == 2
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--usd", "H100-SXM"], "must be like H100-SXM=2.10"),
        (["--usd", "H100-SXM=-1"], "between 0 and 1000"),
        (["--usd", "NOPE=1"], "NOPE"),
        (["--country", "Germany"], "must be a code such as DE"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHIA_KUBERNETES_NAMESPACE", "ml")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_a_namespace_there_is_no_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTHIA_KUBERNETES_NAMESPACE", raising=False)
    assert main([]) == 2
    assert "PYTHIA_KUBERNETES_NAMESPACE" in capsys.readouterr().err
