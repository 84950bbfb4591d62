"""What `sinfo` prints becomes offers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from predictor.hardware import load_gpu_types
from workers.backends.slurm.inventory import Kind, Terms, offers_of, read_nodes

GPUS = load_gpu_types()
TERMS = Terms(provider="campus", micros_per_gpu_hour=500_000, country="FI", day="2026-11-29")
SINFO = """\
gpu|n1|gpu:a100:4(S:0,1)|64|idle
gpu|n2|gpu:a100:4(S:0,1)|64|mixed
gpu|n3|gpu:a100:4(S:0,1)|64|drained
gpu|n4|gpu:a100:4(S:0,1)|64|idle*
gpu|n5|gpu:nvidia_h100_80gb_hbm3:8,shard:16|128|allocated
cloud|c1|gpu:l40s:2|32|idle~
cpu|m1|(null)|96|idle
cpu|m2|(null)|96|down
odd|x1|gpu:tpu:4|8|idle
odd|x2|gpu:2|8|idle
a line of nonsense
"""


def test_nodes_that_take_jobs_are_capacity() -> None:
    offers, unknown = offers_of(read_nodes(SINFO), TERMS, GPUS, {})
    found = {(o.region, o.instance_type): (o.gpu_type, o.node_gpus, o.capacity_gpus, o.sold_gpus) for o in offers}
    assert found == {
        ("gpu", "gpu:a100:4"): ("A100", 4, 8, (1, 2, 4)),
        ("gpu", "gpu:nvidia_h100_80gb_hbm3:8"): ("H100-SXM", 8, 8, (1, 2, 4, 8)),
        ("cloud", "gpu:l40s:2"): ("L40S", 2, 2, (1, 2)),
        ("cpu", "cpu:96"): ("CPU", 96, 96, (1, 2, 4, 8, 16, 32, 64, 96)),
    }
    assert unknown == ("(no type)", "tpu")
    assert {(o.provider, o.backend, o.country, o.on_demand_micros_per_gpu_hour) for o in offers} == {
        ("campus", "slurm", "FI", 500_000)
    }


def test_one_job_may_have_several_nodes_where_that_was_said_and_there_are_as_many() -> None:
    terms = replace(TERMS, max_nodes=3, interconnect_gbps=400.0)
    offers, _ = offers_of(read_nodes(SINFO), terms, GPUS, {})
    found = {(o.region, o.instance_type): (o.max_nodes, o.interconnect_gbps, o.counts()) for o in offers}
    assert found["gpu", "gpu:a100:4"] == (2, 400.0, (1, 2, 4, 8))
    assert found["cloud", "gpu:l40s:2"] == (1, 400.0, (1, 2))
    assert found["cpu", "cpu:96"][:2] == (1, None)  # nobody spreads work over processors here
    unsaid, _ = offers_of(read_nodes(SINFO), TERMS, GPUS, {})
    assert {(o.max_nodes, o.interconnect_gbps) for o in unsaid} == {(1, None)}


def test_a_name_that_was_given_goes_before_what_is_guessed() -> None:
    offers, _ = offers_of(read_nodes(SINFO, ["gpu"]), TERMS, GPUS, {"a100": "A100-80GB-SXM"})
    assert {offer.gpu_type for offer in offers} == {"A100-80GB-SXM", "H100-SXM"}


def test_a_node_in_two_partitions_is_named() -> None:
    nodes = read_nodes("gpu|n1|gpu:a100:4|8|idle\nurgent|n1|gpu:a100:4|8|idle\nurgent|n2|gpu:a100:4|8|idle\n")
    assert nodes.shared == ("n1",)
    assert read_nodes("gpu|n1|gpu:a100:4|8|idle\nurgent|n1|gpu:a100:4|8|idle\n", ["gpu"]).shared == ()


def test_a_kind_whose_nodes_are_all_down_keeps_its_offer_without_capacity() -> None:
    assert dict(read_nodes("gpu|n1|gpu:a100:4|8|down\n").of_kind) == {Kind(partition="gpu", gres="a100", count=4): 0}


@pytest.mark.parametrize("line", ["", "|||", "gpu|n1|gpu:a100:many|x|idle", "gpu|n1|gpu:a100:0|0|idle"])
def test_what_cannot_be_read_is_no_offer(line: str) -> None:
    assert not read_nodes(line).of_kind
