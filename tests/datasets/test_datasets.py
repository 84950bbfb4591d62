"""The files that ship agree with each other, and with what their data card says of them."""

from __future__ import annotations

import csv
import json
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from predictor.facts import datasets_dir
from predictor.hardware import load_gpu_types

DATASETS = datasets_dir()
FILES = ["gpu_types.csv", "gpu_slices.csv", "model_architectures.csv", "prices_2026_08.csv", "providers.csv"]
FILES += ["kubernetes_gpus.csv", "engine_providers.csv", "engine_cards.csv"]


def table(name: str) -> list[dict[str, str]]:
    with (DATASETS / name).open(encoding="utf-8", newline="") as stream:
        header, *lines = csv.reader(stream, strict=True)
    return [dict(zip(header, line, strict=True)) for line in lines]


def telemetry() -> list[dict[str, Any]]:
    lines = (DATASETS / "telemetry" / "cpu_custom.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


PRICES, PROVIDERS = table("prices_2026_08.csv"), table("providers.csv")


@pytest.mark.parametrize("name", FILES)
def test_the_data_card_explains_every_column(name: str) -> None:
    card = (DATASETS / "README.md").read_text(encoding="utf-8")
    section = card.split(f"## `{name}`")[1].split("\n## ")[0]
    explained = set(re.findall(r"`([a-z0-9_]+)`", section))
    assert set(table(name)[0]) <= explained


def test_the_data_card_counts_what_is_there() -> None:
    card = (DATASETS / "README.md").read_text(encoding="utf-8")
    assert f"{len(PRICES):,} offers" in card
    assert f"{len(table('model_architectures.csv'))} models" in card
    assert f"{len(table('gpu_types.csv')) - 1} GPU types" in card
    assert f"{len(table('prices_2026_05.csv'))} offers of 5 providers" in card
    assert f"{len(table('gpu_slices.csv'))} parts of cards" in card
    assert f"{len(telemetry())} runs" in card
    assert f"call {len(table('kubernetes_gpus.csv'))} GPU types" in card
    assert f"call {len(table('engine_providers.csv'))} providers" in card


def test_every_offer_is_of_a_card_that_can_be_named() -> None:
    gpus = load_gpu_types()
    assert all(gpus.variants(row["gpu_type"]) for row in PRICES)


def test_every_offer_has_a_price_and_spot_is_never_dearer() -> None:
    for row in PRICES:
        on_demand, spot = row["on_demand_usd_per_gpu_hour"], row["spot_usd_per_gpu_hour"]
        assert on_demand or spot, row
        assert all(Decimal(price) > 0 for price in (on_demand, spot) if price), row
        assert not (on_demand and spot) or Decimal(spot) <= Decimal(on_demand), row


def test_every_offer_sells_its_whole_machine_and_parts_of_it() -> None:
    for row in PRICES:
        sold = [int(count) for count in row["sold_gpus"].split("|")]
        assert sold == sorted(set(sold))
        assert sold[0] >= 1
        assert sold[-1] == int(row["node_gpus"])


def test_no_offer_is_listed_twice() -> None:
    keys = [(r["provider"], r["region"], r["country"], r["instance_type"], r["gpu_type"]) for r in PRICES]
    assert len(keys) == len(set(keys))


def test_every_price_is_of_the_time_the_file_is_named_after_or_before() -> None:
    assert max(date.fromisoformat(row["price_date"]) for row in PRICES) <= date(2026, 8, 31)


def test_a_jurisdiction_follows_from_the_country() -> None:
    for row in PRICES:
        assert (row["country"] == "") == (row["jurisdiction"] == "unknown")
        assert re.fullmatch("[A-Z]{2}|", row["country"])
    assert {row["jurisdiction"] for row in PRICES if row["country"] in ("FI", "FR", "DE", "IT")} == {"EU"}
    assert {row["jurisdiction"] for row in PRICES if row["country"] in ("US", "GB", "CH")} == {"other"}
    assert {row["jurisdiction"] for row in PRICES if row["country"] == "NO"} == {"EEA"}


def test_every_seller_is_described_and_sits_where_the_prices_say() -> None:
    headquarters = {row["provider"]: row["hq_country"] for row in PROVIDERS}
    assert "*" in headquarters
    assert {(row["provider"], row["provider_hq"]) for row in PRICES} <= set(headquarters.items())


def test_what_is_assumed_of_a_seller_is_possible() -> None:
    for row in PROVIDERS:
        assert 0 < int(row["billing_increment_s"]) <= 3600
        assert 0 < int(row["minimum_s"]) <= 3600
        assert int(row["max_nodes"]) == 1 or int(row["interconnect_gbps"]) > 0
        assert row["tenancy"] in ("shared", "dedicated", "unknown")
        assert row["basis"] in ("assumed", "stated")


def test_our_telemetry_was_measured() -> None:
    rows = telemetry()
    assert {row["gpu_type"] for row in rows} == {"CPU"}
    assert len({row["id"] for row in rows}) == len(rows)
    assert min(sum(row["workload"]["kind"] == kind for row in rows) for kind in kinds(rows)) >= 12
    for row in rows:
        assert row["simulated"] is False
        assert row["source"] == "pythia"
        assert row["outcome"] == "completed"
        assert 0 < row["runtime_s"] < 60
        assert 0 < row["peak_rss_gib"] < 4
        assert all(isinstance(value, int | float) for value in row["workload"]["features"].values())


def kinds(rows: list[dict[str, Any]]) -> set[str]:
    return {row["workload"]["kind"] for row in rows}


def test_nothing_that_ships_is_large() -> None:
    bundle = DATASETS / "bundle"
    sizes = {path: path.stat().st_size for path in DATASETS.rglob("*") if path.is_file()}

    assert sum(size for path, size in sizes.items() if path.is_relative_to(bundle)) < 8_000_000
    assert sum(size for path, size in sizes.items() if not path.is_relative_to(bundle)) < 1_000_000
