"""Catalogues of others: instance prices become GPU prices, and what is no offer of ours is counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from predictor.hardware import load_gpu_types
from scheduler.domain.card_names import card_named, card_of_driver
from scheduler.domain.catalogues import Given, PriceList, read_price_list
from scheduler.domain.errors import InvalidOffer

GPUS = load_gpu_types()
GIVEN = Given(provider="aws", price_date=date(2026, 8, 23), places={("aws", "eu-north-1"): ("SE", "EU")})

GPUHUNT = """instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size
p5.48xlarge,eu-north-1,55.04,192,2048,8,H100,80,False,
p5.48xlarge,eu-north-1,24.0,192,2048,8,H100,80,True,
m5.large,eu-north-1,0.1,2,8,0,,,False,
p2.xlarge,eu-north-1,0.9,4,61,1,K80,12,False,
"""
SKYPILOT = """InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GPUInfo,Price,SpotPrice,Region,Zone
p4d.24xlarge,A100,8.0,96,1152,"{'Gpus': []}",32.8,12.0,eu-north-1,eu-north-1a
p4d.24xlarge,A100,8.0,96,1152,"{'Gpus': []}",32.8,10.4,eu-north-1,eu-north-1b
p4de.24xlarge,A100-80GB,8.0,96,1152,"{'Gpus': []}",40.96,,us-east-1,us-east-1a
g4ad,T4,0.5,2,8,,0.3,,us-east-1,us-east-1a
c5.large,,,2,4,,0.1,0.02,us-east-1,us-east-1a
"""
LISTING = """provider,region,country,jurisdiction,provider_hq,instance_type,gpu_type,gpu_count,gpu_vram_gib,\
on_demand_usd_per_hour,spot_usd_per_hour,date,source,notes
nebius,eu-north1,FI,EU,NL,gpu-h100,H100-SXM,8,80.0,23.6,10.0,"2025-H2 (undated)",a list,
nebius,eu-north1,FI,EU,NL,gpu-h100,H100-SXM,8,80.0,24.0,,2026-08-06,a list,
azure,westeurope,NL,EU,US,NC6,A10,0.5,12,0.4,,2026-08-06,a list,
"""


def read(folder: Path, text: str, given: Given = GIVEN) -> PriceList:
    path = folder / "catalogue.csv"
    path.write_text(text, encoding="utf-8")
    return read_price_list(path, GPUS, given)


def test_gpuhunt_rows_of_both_ways_to_pay_are_one_offer(tmp_path: Path) -> None:
    found = read(tmp_path, GPUHUNT)
    (line,) = found.lines
    assert found.format == "gpuhunt"
    assert (line.on_demand_micros, line.spot_micros, line.node_gpus, line.sold_gpus) == (6_880_000, 3_000_000, 8, (8,))
    assert (line.provider, line.gpu_type, line.country, line.jurisdiction) == ("aws", "H100", "SE", "EU")
    assert found.skipped == {"no GPU": 1, "a card that is not in the catalogue of GPU types": 1}


def test_skypilot_zones_are_one_offer_at_the_lowest_spot_price(tmp_path: Path) -> None:
    found = read(tmp_path, SKYPILOT)
    small, large = found.lines
    assert found.format == "skypilot"
    assert (small.gpu_type, small.on_demand_micros, small.spot_micros) == ("A100-40GB", 4_100_000, 1_300_000)
    assert (large.gpu_type, large.on_demand_micros, large.spot_micros) == ("A100-80GB", 5_120_000, None)
    assert found.skipped == {"a part of a GPU": 1, "no GPU": 1}


def test_of_two_listings_the_newer_counts_and_a_year_is_its_first_day(tmp_path: Path) -> None:
    found = read(tmp_path, LISTING)
    line, part = found.lines
    assert found.format == "listing"
    assert (part.gpu_type, part.node_gpus, part.sold_gpus, part.max_nodes) == ("A10/2", 1, (1,), 1)
    assert part.on_demand_micros == 400_000  # of the part, not of the card
    assert (line.price_date, line.on_demand_micros, line.spot_micros) == ("2026-08-06", 3_000_000, None)
    (undated,) = read(tmp_path, "\n".join(LISTING.splitlines()[:2])).lines
    assert (undated.price_date, undated.on_demand_micros) == ("2025-01-01", 2_950_000)


def test_a_catalogue_that_does_not_say_whose_it_is_must_be_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidOffer, match="--provider"):
        read(tmp_path, GPUHUNT, Given(provider=None, price_date=date(2026, 8, 23), places={}))
    with pytest.raises(InvalidOffer, match="--price-date"):
        read(tmp_path, SKYPILOT, Given(provider="aws", price_date=None, places={}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GPUHUNT.replace("55.04", "lots"), "line 2: price is 'lots'"),
        (GPUHUNT.replace("55.04", "-1"), "line 2: price is -1"),
        (GPUHUNT.replace("55.04", "90000"), "line 2: .* above"),
        (GPUHUNT.replace("55.04", "0.000003"), "line 2: price is 3.75e-7, less than a millionth"),
        (GPUHUNT.replace(",8,H100", ",9999999999,H100"), "line 2: gpu_count is 9999999999, .*between 0 and 1024"),
        (SKYPILOT.replace("8.0,96", "1e23,96"), "line 2: AcceleratorCount is 1e23, .*between 0 and 1024"),
        (LISTING.replace(",8,80.0", ",1025,80.0"), "line 2: gpu_count is 1025, .*between 0 and 1024"),
        (GPUHUNT + "short,row\n", "line 6: not as many values"),
        ("a,b\n1,2\n", "line 1: column"),
    ],
)
def test_what_cannot_be_read_refuses_the_file_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidOffer, match=said):
        read(tmp_path, text)


def test_a_price_of_a_day_that_has_not_come_refuses_the_file(tmp_path: Path) -> None:
    today = replace(GIVEN, latest=date(2026, 8, 6))
    assert read(tmp_path, LISTING, today).lines
    with pytest.raises(InvalidOffer, match="line 3: date is 2026-08-07, a day that has not come"):
        read(tmp_path, LISTING.replace("2026-08-06", "2026-08-07", 1), today)
    for text in (GPUHUNT, SKYPILOT):
        with pytest.raises(InvalidOffer, match="price_date is 2026-08-23, a day that has not come"):
            read(tmp_path, text, today)


@pytest.mark.parametrize(
    ("name", "memory_gb", "means"),
    [
        ("H100NVL", 94, "H100-NVL"), ("H100", 94, "H100-NVL"), ("H100", 80, "H100"), ("H100-MEGA", None, "H100-SXM"),
        ("A100", 80, "A100-80GB"), ("A100", 40, "A100-40GB"), ("NVIDIA GeForce RTX 4090", 24, "RTX4090"),
        ("Tesla V100", 16, "V100-16GB"), ("A6000", 48, "RTXA6000"), ("MI300X", 192, "MI300X"), ("L40S", 45, "L40S"),
        ("A10", 8, None), ("K80", 12, None), ("T4", 24, None), ("", None, None),
    ],
)  # fmt: skip
def test_a_card_is_known_by_its_name_and_its_memory(name: str, memory_gb: float | None, means: str | None) -> None:
    assert card_named(name, memory_gb, GPUS) == means


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("a100", "A100"),
        ("A100_80GB", "A100-80GB"),
        ("nvidia_a100-sxm4-80gb", "A100-80GB-SXM"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB-PCIe"),
        ("nvidia_h100_80gb_hbm3", "H100-SXM"),
        ("nvidia_h100_pcie", "H100-PCIe"),
        ("nvidia_h100_nvl", "H100-NVL"),
        ("tesla_v100-sxm2-32gb", "V100-32GB-SXM2"),
        ("nvidia_geforce_rtx_4090", "RTX4090"),
        ("nvidia_l40s", "L40S"),
        ("tesla_t4", "T4"),
        ("shard", None),
        ("a100-sxm4-7gb", None),
        ("", None),
    ],
)
def test_names_that_say_memory_and_form_are_cards(name: str, means: str | None) -> None:
    assert card_of_driver(name, GPUS) == means
