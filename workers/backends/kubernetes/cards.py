"""What a cluster calls our GPU types: the resource a pod asks for, and the product labels of the nodes that have it.

`datasets/kubernetes_gpus.csv` holds the names that NVIDIA's GPU feature discovery writes; an installation adds its own,
parts of cards above all: which MIG profile a part is cut as is the choice of who runs the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from predictor.facts import datasets_dir, read_facts
from predictor.hardware import CPU
from scheduler.settings import ClusterGpu

PRODUCT_LABEL = "nvidia.com/gpu.product"
CPU_RESOURCE = "cpu"
_COLUMNS = ("name", "resource", "products")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU type as a cluster knows it."""

    gpu_type: str
    resource: str
    """Extended resource, one unit a card or a part of one; cores for the plain CPU."""
    products: tuple[str, ...]
    """Values of the product label, any of which will do; none where any node with the resource does."""


def load_cards(own: Mapping[str, ClusterGpu]) -> dict[str, Card]:
    """All cards by GPU type, the installation's own names in the place of ours."""
    rows = read_facts(datasets_dir() / "kubernetes_gpus.csv", _COLUMNS, key=("name",))
    cards = {CPU: Card(gpu_type=CPU, resource=CPU_RESOURCE, products=())}
    for row in rows:
        name = row.text("name")
        products = tuple(row.text("products").split())
        cards[name] = Card(gpu_type=name, resource=row.text("resource"), products=products)
    for name, said in own.items():
        cards[name] = Card(gpu_type=name, resource=said.resource, products=tuple(said.products))
    return cards
