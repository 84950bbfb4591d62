"""Price lists are read whole or refused at the line that cannot be true."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictor.facts import datasets_dir
from predictor.hardware import load_gpu_types
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.offers import Offer
from scheduler.domain.price_file import PRICE_COLUMNS, read_habits, read_prices
from scheduler.storage.ids import new_id
from tests.support.offers import make_offer

GPUS = load_gpu_types()
GOOD = {
    "provider": "aws", "region": "eu-north-1", "country": "SE", "jurisdiction": "EU", "provider_hq": "US",
    "instance_type": "p5.48xlarge", "gpu_type": "H100-SXM", "node_gpus": "8", "on_demand_usd_per_gpu_hour": "3.9",
    "spot_usd_per_gpu_hour": "", "price_date": "2026-08-23", "source": "test", "sold_gpus": "8",
}  # fmt: skip


def read(folder: Path, *rows: dict[str, str]) -> list[Offer]:
    path = folder / "prices.csv"
    columns = (*PRICE_COLUMNS, *sorted({name for row in rows for name in row} - set(PRICE_COLUMNS)))
    lines = [",".join(columns), *(",".join((GOOD | row).get(name, "") for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_prices(path, read_habits(), GPUS, backend="simulated", new_id=new_id)


def test_the_shipped_snapshot_is_readable_and_whole() -> None:
    offers = read_prices(datasets_dir() / "prices_2026_08.csv", read_habits(), GPUS, backend="simulated", new_id=new_id)
    assert len(offers) > 1000
    assert all(offer.capacity_gpus >= offer.node_gpus >= max(offer.sold_gpus) for offer in offers)


def test_a_line_becomes_an_offer_with_its_providers_habits(tmp_path: Path) -> None:
    (offer,) = read(tmp_path, {})
    assert (offer.on_demand_micros_per_gpu_hour, offer.spot_micros_per_gpu_hour) == (3_900_000, None)
    assert (offer.billing_increment_s, offer.minimum_s, offer.max_nodes) == (1, 60, 4)
    assert offer.counts() == (8, 16, 24, 32)
    assert "capacity_gpus" in offer.assumed


def test_what_leaves_is_charged_as_the_list_says_where_it_says(tmp_path: Path) -> None:
    (unsaid,) = read(tmp_path, {})
    priced, free = read(
        tmp_path, {"egress_usd_per_gib": "0.085"},
        {"egress_usd_per_gib": "0", "instance_type": "other"},
    )  # fmt: skip
    (empty,) = read(tmp_path, {"egress_usd_per_gib": ""})
    found = [one.egress_micros_per_gib for one in (unsaid, priced, free, empty)]
    assert found == [None, 85_000, 0, None]


def test_a_part_of_a_gpu_is_sold_by_itself_whatever_its_providers_habits(tmp_path: Path) -> None:
    (offer,) = read(tmp_path, {"gpu_type": "A10/3", "node_gpus": "1", "sold_gpus": "1"})
    assert (offer.gpu_type, offer.counts(), offer.max_nodes) == ("A10/3", (1,), 1)


def test_a_provider_that_is_not_listed_has_the_habits_of_any(tmp_path: Path) -> None:
    (offer,) = read(tmp_path, {"provider": "nobody-knows"})
    assert (offer.billing_increment_s, offer.max_nodes, offer.tenancy) == (3600, 1, "unknown")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"on_demand_usd_per_gpu_hour": "-1"}, "above zero"),
        ({"on_demand_usd_per_gpu_hour": "nan"}, "above zero"),
        ({"egress_usd_per_gib": "-0.1"}, "not dollars from 0 to 10"),
        ({"egress_usd_per_gib": "nan"}, "not dollars from 0 to 10"),
        ({"egress_usd_per_gib": "a lot"}, "not dollars from 0 to 10"),
        ({"on_demand_usd_per_gpu_hour": "1001"}, "above \\$1000"),
        ({"on_demand_usd_per_gpu_hour": "0"}, "above zero"),
        ({"on_demand_usd_per_gpu_hour": "0.0000005"}, "5e-7, less than a millionth"),
        ({"spot_usd_per_gpu_hour": "1e-400"}, "less than a millionth"),
        ({"node_gpus": "1025"}, "node_gpus"),
        ({"on_demand_usd_per_gpu_hour": ""}, "neither"),
        ({"gpu_type": "H999"}, "H999"),
        ({"node_gpus": "0"}, "node_gpus"),
        ({"sold_gpus": "16"}, "sold_gpus"),
        ({"sold_gpus": "one"}, "sold_gpus"),
        ({"price_date": "yesterday"}, "price_date"),
        ({"gpu_type": "A10/3", "node_gpus": "2", "sold_gpus": "2"}, "A10/3 is a part of one GPU"),
        ({"region": "eu-west-1", "provider": ""}, "provider is empty"),
    ],
)
def test_a_line_that_cannot_be_true_is_refused_with_its_number(tmp_path: Path, row: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidOffer, match=f"prices.csv line 3: .*{said}"):
        read(tmp_path, {"instance_type": "other"}, row)


def test_the_smallest_price_that_can_be_billed_is_read(tmp_path: Path) -> None:
    (offer,) = read(tmp_path, {"on_demand_usd_per_gpu_hour": "0.000001"})
    assert offer.on_demand_micros_per_gpu_hour == 1


def test_no_more_gpus_are_sold_than_a_layout_can_have() -> None:
    assert make_offer(node_gpus=1024, sold_gpus=(1024,), max_nodes=200).counts()[-1] == 1024 * 97
    assert make_offer(node_gpus=10**10, sold_gpus=(1, 10**10)).counts() == (1,)


def test_a_duplicate_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(InvalidOffer, match=r"line 3: repeats line 2"):
        read(tmp_path, {}, {})
