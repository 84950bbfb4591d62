"""How long GPUs talk to each other: ring and tree collectives over NVLink, PCIe and the network.

The cost model is the usual alpha-beta one (Thakur, Rabenseifner, Gropp 2005, "Optimization of collective
communication operations in MPICH"; the bus bandwidths of nccl-tests' PERFORMANCE.md). Every function takes
arrays of one row per question and gives seconds. A group of one GPU costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.fact_columns import GpuColumns, LayoutColumns
from predictor.gather import Floats

NVLINK_SHARE = 0.78
"""Of the one-way NVLink rate, the part nccl-tests reach for large messages (A100: 235 of 300, H100: 360 of 450 GB/s)."""
PCIE_PEER_SHARE = 0.55
"""Of an achievable x16 slot, what a ring of cards keeps: traffic crosses the host and is shared by neighbours."""
NETWORK_SHARE = 0.8
"""Of the line rate of the network, what RDMA all-reduces keep."""

NVLINK_HOP_S = 1.5e-6
PCIE_HOP_S = 6.0e-6
NETWORK_HOP_S = 8.0e-6
COLLECTIVE_BASE_S = 6.0e-6
"""Launch of a collective kernel and its first synchronisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What the GPUs of each row are joined by."""

    domain_gpus: Floats
    """GPUs that share the fast links: a machine, or an NVL72 rack."""
    fast_bytes_s: Floats
    """Achieved one-way bytes/s of one GPU inside the domain."""
    fast_hop_s: Floats
    network_bytes_s: Floats
    """Achieved one-way bytes/s of one domain to the outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Ranks that take part in one collective, and what each of them can move."""

    size: Floats
    inside: Floats
    """Of them, how many share a domain."""
    fast_bytes_s: Floats
    bytes_s: Floats
    """Bus bandwidth of a ring through the group: of its slowest link."""
    outside_bytes_s: Floats
    """One GPU's share of its domain's network."""
    hop_s: Floats


def links(layout: LayoutColumns, gpu: GpuColumns) -> Links:
    """Achieved link rates from the data-sheet ones."""
    nvlink = gpu.nvlink_gbs > 0.0
    return Links(
        domain_gpus=layout.domain_gpus,
        fast_bytes_s=layout.link_gbs * np.where(nvlink, NVLINK_SHARE, PCIE_PEER_SHARE) * 1e9,
        fast_hop_s=np.where(nvlink, NVLINK_HOP_S, PCIE_HOP_S),
        network_bytes_s=layout.interconnect_gbs * (NETWORK_SHARE * 1e9),
    )


def group(links: Links, size: Floats, stride: Floats) -> Group:
    """The group of `size` ranks that are `stride` GPUs apart (Megatron's order: tensor, context, expert, data, pipeline).

    A ring enters and leaves each domain once, and the domain's network is shared by all the groups that cross it.
    """
    inside = np.clip(np.floor(links.domain_gpus / stride), 1.0, size)
    share = links.network_bytes_s * inside / links.domain_gpus
    crosses = size > inside
    return Group(
        size=size,
        inside=inside,
        fast_bytes_s=links.fast_bytes_s,
        bytes_s=np.where(crosses, np.minimum(links.fast_bytes_s, share), links.fast_bytes_s),
        outside_bytes_s=links.network_bytes_s / links.domain_gpus,
        hop_s=np.where(crosses, NETWORK_HOP_S, links.fast_hop_s),
    )


def all_reduce(payload: Floats, g: Group) -> Floats:
    """Sum `payload` bytes on every rank: a ring moves 2(n-1)/n of them, a double binary tree twice all in log2(n) hops."""
    steps = 2.0 * (g.size - 1.0)
    ring = steps * g.hop_s + steps / g.size * payload / g.bytes_s
    tree = 2.0 * np.ceil(np.log2(g.size)) * g.hop_s + 2.0 * payload / g.bytes_s
    return _unless_alone(g, np.minimum(ring, tree))


def all_gather(payload: Floats, g: Group) -> Floats:
    """Give every rank the whole `payload` of which each holds 1/n; a reduce-scatter costs the same."""
    steps = g.size - 1.0
    return _unless_alone(g, np.ceil(np.log2(g.size)) * g.hop_s + steps / g.size * payload / g.bytes_s)


def all_to_all(payload: Floats, g: Group) -> Floats:
    """Each rank sends `payload` bytes spread over the group: neighbours over fast links, the rest over the network."""
    near = payload * (g.inside - 1.0) / g.size / g.fast_bytes_s
    far = payload * (g.size - g.inside) / g.size / g.outside_bytes_s
    return _unless_alone(g, 2.0 * g.hop_s + near + far)


def send(payload: Floats, g: Group) -> Floats:
    """One rank hands `payload` bytes to the next one of its group (pipeline stages, a context-parallel ring)."""
    return _unless_alone(g, g.hop_s + payload / np.where(g.inside > 1.0, g.bytes_s, g.outside_bytes_s))


def _unless_alone(g: Group, seconds: Floats) -> Floats:
    return np.where(g.size > 1.0, COLLECTIVE_BASE_S + seconds, 0.0)
