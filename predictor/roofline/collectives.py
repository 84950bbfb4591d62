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

NVLINK_SHARE = 0.75
"""Of the one-way NVLink rate, what large messages reach (nccl-tests: 235 of 300 GB/s on A100, 360 of 450 on H100)."""
PCIE_PEER_SHARE = 0.7
"""Of an achievable x16 slot, what a ring of cards keeps: traffic crosses the host and is shared by neighbours."""
NETWORK_SHARE = 0.8
"""Of the line rate of the network, what RDMA all-reduces keep."""

NVLINK_HOP_S = 2.2e-6
PCIE_HOP_S = 6.0e-6
NETWORK_HOP_S = 6.5e-6
COLLECTIVE_BASE_S = 11.0e-6
"""Launch of a collective kernel and its first synchronisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What the GPUs of each row are joined by."""

    domain_gpus: Floats
    """GPUs that share the fast links: a machine, or an NVL72 rack."""
    fast_gpus: Floats
    """Of them, those that NVLink joins directly: all, or the few on one bridge."""
    fast_bytes_s: Floats
    """Achieved one-way bytes/s of one GPU to those."""
    fast_hop_s: Floats
    plain_bytes_s: Floats
    """The same to the rest of the domain, over PCIe."""
    network_bytes_s: Floats
    """Achieved one-way bytes/s of one domain to the outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Ranks that take part in one collective, and what each of them can move."""

    size: Floats
    inside: Floats
    """Of them, how many share a domain."""
    near_bytes_s: Floats
    """What one rank moves to its neighbours of the same domain."""
    bytes_s: Floats
    """Bus bandwidth of a ring through the group: of its slowest link."""
    outside_bytes_s: Floats
    """One GPU's share of its domain's network."""
    near_hop_s: Floats
    hop_s: Floats
    """Latency of the slowest link."""

    @property
    def depth_s(self) -> Floats:
        """Latency from the leaves of a tree to its root: inside the domains first, then between them."""
        inside = np.ceil(np.log2(self.inside)) * self.near_hop_s
        return inside + np.ceil(np.log2(self.size / self.inside)) * self.hop_s


def links(layout: LayoutColumns, gpu: GpuColumns) -> Links:
    """Achieved link rates from the data-sheet ones."""
    nvlink = gpu.nvlink_gbs > 0.0
    plain = gpu.pcie_gbs * (PCIE_PEER_SHARE * 1e9)
    return Links(
        domain_gpus=layout.domain_gpus,
        fast_gpus=np.where(gpu.bridged_gpus > 0.0, gpu.bridged_gpus, layout.domain_gpus),
        fast_bytes_s=np.where(nvlink, layout.link_gbs * (NVLINK_SHARE * 1e9), plain),
        fast_hop_s=np.where(nvlink, NVLINK_HOP_S, PCIE_HOP_S),
        plain_bytes_s=plain,
        network_bytes_s=layout.interconnect_gbs * (NETWORK_SHARE * 1e9),
    )


def group(links: Links, size: Floats, stride: Floats) -> Group:
    """The group of `size` ranks that are `stride` GPUs apart (Megatron's order: tensor, context, data, pipeline).

    A ring enters and leaves each domain once, and the domain's network is shared by all the groups that cross it.
    """
    inside = np.clip(np.floor(links.domain_gpus / stride), 1.0, size)
    share = links.network_bytes_s * inside / links.domain_gpus
    crosses = size > inside
    joined = inside * stride <= links.fast_gpus
    near = np.where(joined, links.fast_bytes_s, links.plain_bytes_s)
    near_hop = np.where(joined, links.fast_hop_s, PCIE_HOP_S)
    return Group(
        size=size,
        inside=inside,
        near_bytes_s=near,
        bytes_s=np.where(crosses, np.minimum(near, share), near),
        outside_bytes_s=links.network_bytes_s / links.domain_gpus,
        near_hop_s=near_hop,
        hop_s=np.where(crosses, NETWORK_HOP_S, near_hop),
    )


def all_reduce(payload: Floats, g: Group) -> Floats:
    """Sum `payload` bytes on every rank, the fastest way.

    A ring moves 2(n-1)/n of them in 2(n-1) hops, a double binary tree twice all in 2 log2(n) hops; small sums inside
    a domain are read from every neighbour at once, n-1 times all in one hop.
    """
    steps = 2.0 * (g.size - 1.0)
    ring = steps * g.hop_s + steps / g.size * payload / g.bytes_s
    tree = 2.0 * g.depth_s + 2.0 * payload / g.bytes_s
    direct = g.hop_s + (g.size - 1.0) * payload / g.bytes_s
    best = np.minimum(ring, tree)
    return _unless_alone(g, np.where(g.inside >= g.size, np.minimum(best, direct), best))


def all_gather(payload: Floats, g: Group) -> Floats:
    """Give every rank the whole `payload` of which each holds 1/n; a reduce-scatter costs the same."""
    steps = g.size - 1.0
    return _unless_alone(g, g.depth_s + steps / g.size * payload / g.bytes_s)


def all_to_all(payload: Floats, copies: Floats, g: Group) -> Floats:
    """Each rank sends its `payload` bytes to `copies` random places of the group, such as tokens to their experts.

    A place that is met twice is sent to once: a rank over fast links, a whole domain over the network (the way of
    DeepEP, arXiv:2412.19437, section 3.2.2).
    """
    domains = g.size / g.inside
    near = _distinct(g.size, copies) * (g.inside - 1.0) / g.size / g.near_bytes_s
    far = _distinct(domains, copies) * (1.0 - 1.0 / domains) / g.outside_bytes_s
    return _unless_alone(g, 2.0 * g.hop_s + payload * (near + far))


def _distinct(places: Floats, draws: Floats) -> Floats:
    """Expected number of different places among random draws."""
    return places * (1.0 - (1.0 - 1.0 / places) ** draws)


def send(payload: Floats, g: Group) -> Floats:
    """One rank hands `payload` bytes to the next one of its group (pipeline stages, a context-parallel ring)."""
    return _unless_alone(g, g.hop_s + payload / np.where(g.inside > 1.0, g.bytes_s, g.outside_bytes_s))


def _unless_alone(g: Group, seconds: Floats) -> Floats:
    return np.where(g.size > 1.0, COLLECTIVE_BASE_S + seconds, 0.0)
