"""Offer the GPUs of a Kubernetes cluster: `python -m workers.offer_cluster --usd H100-SXM=2.10 --country DE`.

What each node can give to pods is read from the cluster, of nodes that are ready and take new pods, and put into the
inventory as offers of the backend `kubernetes`; run again, it brings their capacity up to date, and what is no longer
there is offered no more. It asks for nodes, which are not part of a namespace: a ClusterRole that may list them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation

from lightkube.resources.core_v1 import Node

from predictor.errors import PythiaError
from predictor.hardware import load_gpu_types
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.money import usd_to_micros
from scheduler.domain.offers import Offer
from scheduler.services.import_offers import list_offers, put_offers
from scheduler.settings import Settings, load_settings
from scheduler.storage.engine import make_engine
from scheduler.storage.ids import new_id
from workers.backends.base import ProviderUnavailable
from workers.backends.kubernetes.cards import CPU_RESOURCE, PRODUCT_LABEL, Card, load_cards
from workers.backends.kubernetes.cluster import connect

KUBERNETES = "kubernetes"
_SOLD = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a cluster does not say of itself."""

    cluster: str
    usd: Mapping[str, Decimal]
    """Per GPU-hour; what is not named costs nothing."""
    country: str | None
    provision_s: float
    price_date: str


def cluster_offers(nodes: Iterable[Node], cards: Iterable[Card], terms: Terms) -> tuple[list[Offer], list[str]]:
    """The cards of a cluster's nodes as offers, one for each type and number per node, and product labels that name
    no card that we know."""
    found: Counter[tuple[str, int]] = Counter()
    unknown: set[str] = set()
    known = [card for card in cards if card.resource != CPU_RESOURCE]
    for node in filter(_takes_pods, nodes):
        product = ((node.metadata and node.metadata.labels) or {}).get(PRODUCT_LABEL)
        allocatable = (node.status and node.status.allocatable) or {}
        here = [card for card in known if _has(allocatable, card) and (not card.products or product in card.products)]
        for card in here:
            found[card.gpu_type, int(allocatable[card.resource])] += 1
        if not here and product is not None:
            unknown.add(product)
    return [_offer(kind, per_node, many, terms) for (kind, per_node), many in sorted(found.items())], sorted(unknown)


def _takes_pods(node: Node) -> bool:
    if node.spec is not None and node.spec.unschedulable:
        return False
    conditions = (node.status and node.status.conditions) or ()
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


def _has(allocatable: Mapping[str, str], card: Card) -> bool:
    amount = allocatable.get(card.resource, "0")
    return amount.isdigit() and int(amount) > 0


def _offer(gpu_type: str, per_node: int, nodes: int, terms: Terms) -> Offer:
    return Offer(
        id=new_id(), provider=KUBERNETES, region=terms.cluster, country=terms.country, jurisdiction=None,
        provider_hq=None, instance_type=f"nodes of {per_node}", gpu_type=gpu_type, node_gpus=per_node,
        sold_gpus=(*(count for count in _SOLD if count < per_node), per_node), max_nodes=1,
        capacity_gpus=per_node * nodes,
        on_demand_micros_per_gpu_hour=usd_to_micros(terms.usd.get(gpu_type, Decimal(0))),
        spot_micros_per_gpu_hour=None, price_date=terms.price_date, billing_increment_s=1, minimum_s=0,
        provision_s=terms.provision_s, interconnect_gbps=None, tenancy="dedicated", backend=KUBERNETES,
        assumed=("provision_s",), source="the cluster's nodes",
    )  # fmt: skip


def bring_up_to_date(before: Sequence[Offer], now: Sequence[Offer], cluster: str) -> list[Offer]:
    """The offers to store: those of now, and those of before that are gone, with no capacity."""
    names = {(offer.instance_type, offer.gpu_type) for offer in now}
    gone = [
        replace(offer, capacity_gpus=0)
        for offer in before
        if offer.backend == KUBERNETES
        and offer.provider == KUBERNETES
        and offer.region == cluster
        and offer.capacity_gpus > 0
        and (offer.instance_type, offer.gpu_type) not in names
    ]
    return [*now, *gone]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the cluster and store its offers; 2 with one sentence where that is impossible."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.offer_cluster", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--usd", metavar="GPU_TYPE=USD", action="append", default=[], help="price per GPU-hour")
    parser.add_argument("--country", metavar="CC", help="where the cluster stands, ISO 3166-1 alpha-2")
    parser.add_argument("--provision-s", type=float, default=60.0, help="from the Job to its command: pulling an image")
    asked = parser.parse_args(arguments)
    try:
        settings = load_settings()
        return _offer_cluster(settings, asked.usd, asked.country, asked.provision_s)
    except (PythiaError, ProviderUnavailable) as error:
        print(f"pythia: {error}", file=sys.stderr)
        return 2


def _offer_cluster(settings: Settings, usd: Sequence[str], country: str | None, provision_s: float) -> int:
    if settings.kubernetes_namespace is None:
        raise InvalidOffer("no cluster is named: set PYTHIA_KUBERNETES_NAMESPACE")
    if country is not None and not (len(country) == 2 and country.isascii() and country.isupper()):
        raise InvalidOffer(f"--country is {country!r}, must be a code such as DE")
    terms = Terms(
        cluster=settings.kubernetes_cluster,
        usd=dict(map(_price, usd)),
        country=country,
        provision_s=max(0.0, provision_s),
        price_date=date.today().isoformat(),  # noqa: DTZ011 - a date for people
    )
    cards = load_cards(settings.kubernetes_gpus)
    found, unknown = cluster_offers(connect(settings).nodes(), cards.values(), terms)
    engine = make_engine(settings.require_database_url(), pool_size=1)
    try:
        put_offers(engine, bring_up_to_date(list_offers(engine), found, settings.kubernetes_cluster))
    finally:
        engine.dispose()
    for product in unknown:
        print(f"pythia: nodes labelled {product} are not offered: name them in PYTHIA_KUBERNETES_GPUS", file=sys.stderr)
    for offer in found:
        print(f"{offer.capacity_gpus} × {offer.gpu_type} on {offer.instance_type}")
    return 0


def _price(text: str) -> tuple[str, Decimal]:
    """`H100-SXM=2.10`"""
    name, _, amount = text.partition("=")
    try:
        usd = Decimal(amount)
    except InvalidOperation:
        raise InvalidOffer(f"--usd is {text!r}, must be like H100-SXM=2.10") from None
    if not usd.is_finite() or not 0 <= usd <= 1000:
        raise InvalidOffer(f"--usd is {text!r}, a GPU-hour costs between 0 and 1000 dollars")
    return load_gpu_types().get(name).name, usd


if __name__ == "__main__":
    sys.exit(main())
