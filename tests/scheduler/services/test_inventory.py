"""The inventory: seeded, imported, replaced; what is held stays held."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from predictor.facts import datasets_dir
from scheduler.domain.errors import InvalidOffer
from scheduler.services.import_offers import import_price_file, list_offers, put_offers
from scheduler.services.seed import HostGpus, seed_inventory
from scheduler.storage.ids import new_id
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_offer, make_spec


def test_a_new_installation_offers_the_snapshot_and_this_host(engine: sa.Engine) -> None:
    today = date(2026, 9, 1)
    stored = seed_inventory(engine, host_slots=3, host_gpus=[HostGpus(gpu_type="L40S", count=2)], today=today)
    offers = list_offers(engine)
    assert len(offers) == stored > 1000
    host = {offer.gpu_type: offer for offer in offers if offer.backend == "local"}
    assert set(host) == {"CPU", "L40S"}
    assert (host["CPU"].sold_gpus, host["CPU"].capacity_gpus) == ((1, 2, 3), 3)
    assert {offer.on_demand_micros_per_gpu_hour for offer in host.values()} == {0}
    assert {offer.backend for offer in offers} == {"local", "simulated"}


def test_seeding_twice_changes_nothing(engine: sa.Engine) -> None:
    seed_inventory(engine, host_slots=2, today=date(2026, 9, 1))
    before = list_offers(engine)
    seed_inventory(engine, host_slots=2, today=date(2026, 9, 1))
    assert list_offers(engine) == before


def test_a_new_price_replaces_the_old_and_what_is_held_stays_held(installation: Installation) -> None:
    installation.submit(make_spec())
    put_offers(installation.engine, [make_offer("L40S", 7.0, id=new_id())])
    held = next(offer for offer in list_offers(installation.engine) if offer.gpu_type == "L40S")
    assert (held.on_demand_micros_per_gpu_hour, held.reserved_gpus) == (7_000_000, 1)
    assert held.id == make_offer("L40S").id


def test_a_file_with_one_bad_line_changes_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    lines = (datasets_dir() / "prices_2026_08.csv").read_text(encoding="utf-8").splitlines()
    bad = tmp_path / "prices.csv"
    bad.write_text("\n".join([*lines[:5], lines[5].replace(lines[5].split(",")[6], "H999")]) + "\n", encoding="utf-8")
    with pytest.raises(InvalidOffer, match=r"prices\.csv line 6"):
        import_price_file(engine, bad, now=datetime(2026, 9, 1, tzinfo=UTC))
    assert list_offers(engine) == []
