"""Names of cards in a cluster: each of ours is a card of the catalogue, and reads as that card."""

from __future__ import annotations

import pytest

from predictor.hardware import CPU, load_gpu_types
from predictor.importers.gpu_names import gpu_type_named
from scheduler.settings import ClusterGpu
from workers.backends.kubernetes.cards import load_cards

CARDS = [card for name, card in load_cards({}).items() if name != CPU]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.gpu_type)
def test_every_name_reads_as_its_card(card) -> None:  # type: ignore[no-untyped-def]
    assert load_gpu_types().get(card.gpu_type).vendor == "NVIDIA"
    # a label is the driver's name with dashes for blanks; the reader of names knows nothing of this table
    assert {gpu_type_named(product.replace("-", " ")) for product in card.products} <= {card.gpu_type, None}
    assert card.products


def test_no_name_stands_for_two_cards() -> None:
    names = [product for card in CARDS for product in card.products]
    assert len(names) == len(set(names))


def test_every_nvidia_card_of_the_catalogue_but_those_never_sold_has_a_name() -> None:
    known = {card.gpu_type for card in CARDS}
    ours = {gpu.name for gpu in load_gpu_types() if gpu.vendor == "NVIDIA" and gpu.slice_of is None}
    assert ours - known == {"B100"}


def test_an_installations_own_names_come_first() -> None:
    card = load_cards({"L4": ClusterGpu(products=("NVIDIA-L4-SHARED",))})["L4"]
    assert card.products == ("NVIDIA-L4-SHARED",)
    assert card.resource == "nvidia.com/gpu"
