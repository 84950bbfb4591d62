"""The order of what is for sale, which breaks ties."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from uuid import UUID

from scheduler.domain.stock import stock_of
from tests.support.offers import make_offer


def test_a_hosts_processors_stand_before_its_cards_whatever_their_ids() -> None:
    here = {"provider": "local", "region": "alpha"}
    offers = [make_offer(gpu_type, 0.0, **here) for gpu_type in ("A100-80GB-PCIe", "CPU", "H100-SXM")]
    for numbers in permutations((1, 2, 3)):
        named = [
            replace(offer, id=UUID(int=number), instance_type="this host")
            for offer, number in zip(offers, numbers, strict=True)
        ]
        for order in permutations(named):
            assert [offer.gpu_type for offer in stock_of(order).offers] == ["CPU", "A100-80GB-PCIe", "H100-SXM"]
