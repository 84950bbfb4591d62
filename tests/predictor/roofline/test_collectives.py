"""Collectives cost what their algorithms move, over the slowest link that they cross."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.fact_columns import gpu_columns, layout_columns
from predictor.gather import Floats
from predictor.roofline.collectives import (
    COLLECTIVE_BASE_S,
    NETWORK_SHARE,
    NVLINK_SHARE,
    PCIE_PEER_SHARE,
    Group,
    all_gather,
    all_reduce,
    all_to_all,
    group,
    links,
    send,
)
from tests.predictor.roofline_questions import question, training

A_GIGABYTE = np.array([1e9])


def joined(gpu: str, size: int, stride: int = 1) -> Group:
    """A group of ranks on machines of eight cards of one type."""
    asked = [question(training(), gpu, {"gpu_count": size * stride, "data_parallel": size * stride})]
    cards = gpu_columns([asked[0].gpu])
    return group(links(layout_columns(asked, cards), cards), np.array([float(size)]), np.array([float(stride)]))


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_a_large_all_reduce_moves_twice_n_minus_1_over_n(ranks: int) -> None:
    rate = 600e9 / 2 * NVLINK_SHARE  # A100: 600 GB/s both ways
    seconds = all_reduce(A_GIGABYTE, joined("A100-80GB-SXM", ranks))
    # hops and the launch are tens of microseconds of several milliseconds
    assert seconds[0] == pytest.approx(2 * (ranks - 1) / ranks * 1e9 / rate, rel=0.02)


def test_an_all_gather_costs_half_an_all_reduce() -> None:
    eight = joined("H100-SXM", 8)
    assert all_gather(A_GIGABYTE, eight)[0] == pytest.approx(all_reduce(A_GIGABYTE, eight)[0] / 2, rel=0.02)


def test_one_rank_alone_says_nothing() -> None:
    alone = joined("H100-SXM", 1)
    one = np.array([1.0])
    for seconds in (
        all_reduce(A_GIGABYTE, alone),
        all_gather(A_GIGABYTE, alone),
        all_to_all(A_GIGABYTE, one, alone),
        send(A_GIGABYTE, alone),
    ):
        assert seconds[0] == 0.0


def test_a_small_all_reduce_is_all_latency() -> None:
    seconds = all_reduce(np.array([8192.0]), joined("H100-SXM", 8))[0]
    assert COLLECTIVE_BASE_S < seconds < 20e-6  # what custom all-reduces of serving engines take for a few kilobytes


def test_a_ring_over_two_machines_runs_at_the_share_of_the_network() -> None:
    within, across = joined("H100-SXM", 8), joined("H100-SXM", 16)
    network = 8 * 400e9 / 8 * NETWORK_SHARE  # an adapter of 400 Gbit/s per card
    assert across.bytes_s[0] == pytest.approx(min(network, within.bytes_s[0]))
    # eight groups side by side, one rank of each on every machine, share the same adapters
    assert joined("H100-SXM", 2, stride=8).bytes_s[0] == pytest.approx(network / 8)


def test_a_bridge_joins_two_cards_and_leaves_the_rest_on_pcie() -> None:
    pair, four = joined("A100-80GB-PCIe", 2), joined("A100-80GB-PCIe", 4)
    assert pair.bytes_s[0] == pytest.approx(600e9 / 2 * NVLINK_SHARE)
    assert four.bytes_s[0] < 32e9 * PCIE_PEER_SHARE  # below a share of PCIe 4.0's wire rate


def test_a_rack_of_72_keeps_64_ranks_off_the_network() -> None:
    rack, machines = joined("GB200", 64), joined("B200", 64)
    assert all_reduce(A_GIGABYTE, rack)[0] < all_reduce(A_GIGABYTE, machines)[0]
    assert rack.inside[0] == 64
    assert machines.inside[0] == 8


def test_a_token_is_sent_to_a_machine_once_however_many_of_its_experts_live_there() -> None:
    wide = joined("H100-SXM", 16)
    once = all_to_all(A_GIGABYTE, np.array([1.0]), wide)[0]
    eight = all_to_all(A_GIGABYTE, np.array([8.0]), wide)[0]
    assert once < eight < 8 * once
    # to one other machine over the network, and to at most the seven neighbours on this one
    bound = 1e9 / 2 / wide.outside_bytes_s[0] * 2 + 7e9 / wide.near_bytes_s[0]
    assert eight < bound + 1e-3


payloads = st.floats(0.0, 1e11).map(lambda bytes_: np.array([bytes_]))
ranks = st.sampled_from([2, 3, 4, 8, 16, 64])
cards = st.sampled_from(["A100-80GB-SXM", "A100-80GB-PCIe", "L40S", "H200-NVL", "GB200", "MI300X"])


@given(payload=payloads, more=st.floats(1.0, 100.0), n=ranks, card=cards)
def test_more_bytes_never_take_less_time(payload: Floats, more: float, n: int, card: str) -> None:
    ring = joined(card, n)
    assert all_reduce(payload * more, ring)[0] >= all_reduce(payload, ring)[0] >= COLLECTIVE_BASE_S
    assert all_gather(payload * more, ring)[0] >= all_gather(payload, ring)[0]
    assert all_to_all(payload * more, np.array([8.0]), ring)[0] >= all_to_all(payload, np.array([8.0]), ring)[0]
    assert send(payload * more, ring)[0] >= send(payload, ring)[0]
