"""Prices are dated, versioned and remembered; absurd ones wait in quarantine and are in no plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from scheduler.domain.errors import InvalidOffer, NotFound
from scheduler.domain.habits import FROM_HABITS
from scheduler.domain.offers import Offer
from scheduler.domain.price_file import PRICE_COLUMNS, read_habits
from scheduler.services.import_offers import Imported, import_price_file, list_offers
from scheduler.services.inventory import change_offer, page_offers
from scheduler.services.plan import plan
from scheduler.services.prices import (
    drop_price,
    inventory_of,
    inventory_version,
    list_imports,
    list_quarantine,
    price_history,
    release_price,
)
from scheduler.storage import offers
from scheduler.storage.engine import transaction
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_offer, make_spec

ROW = {
    "provider": "acme", "region": "north", "country": "FI", "jurisdiction": "EU", "provider_hq": "FI",
    "instance_type": "L40S-box", "gpu_type": "L40S", "node_gpus": "8", "on_demand_usd_per_gpu_hour": "1",
    "spot_usd_per_gpu_hour": "", "price_date": "2026-08-24", "source": "a list", "sold_gpus": "1|2|4|8",
}  # fmt: skip


def bring(installation: Installation, folder: Path, *rows: dict[str, str], backend: str | None = None) -> Imported:
    path = folder / "prices.csv"
    lines = [",".join(PRICE_COLUMNS), *(",".join((ROW | row)[name] for name in PRICE_COLUMNS) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return import_price_file(installation.engine, path, now=installation.now, backend=backend)


def usd(offers: list[Offer], gpu_type: str = "L40S") -> float | None:
    micros = {offer.gpu_type: offer.on_demand_micros_per_gpu_hour for offer in offers}[gpu_type]
    return None if micros is None else micros / 1e6


def offer_of(installation: Installation, gpu_type: str) -> Offer:
    (view,) = page_offers(installation.engine, installation.knowledge.gpus, gpu_type=gpu_type)
    return view.offer


def test_an_import_says_what_became_of_its_lines_and_is_remembered(installation: Installation, tmp_path: Path) -> None:
    done = bring(
        installation, tmp_path,
        {"on_demand_usd_per_gpu_hour": "1.2"},
        {"gpu_type": "H100-SXM", "instance_type": "H100-SXM-box", "on_demand_usd_per_gpu_hour": "0.01"},
        {"gpu_type": "T4", "instance_type": "new"},
    )  # fmt: skip
    assert (done.stored, done.older, done.quarantined, done.format) == (2, 0, 1, "pythia")
    (kept,) = list_imports(installation.engine)
    assert (kept.id, kept.stored, kept.quarantined, kept.newest_price_date) == (done.import_id, 2, 1, "2026-08-24")


def test_what_dstack_rents_runs_there_and_stays_there_when_its_price_changes(
    installation: Installation, tmp_path: Path
) -> None:
    rows = [
        {"provider": "nebius", "instance_type": "l40s"},
        {"provider": "nebius", "instance_type": "mi", "gpu_type": "MI210"},
        {"provider": "akash", "instance_type": "l40s"},
    ]
    done = bring(installation, tmp_path, *rows, backend="dstack")
    assert done.stored == 1
    assert dict(done.skipped) == {
        "dstack rents nothing from akash": 1,
        "what dstack calls MI210 is not known": 1,
    }
    newer = {"price_date": "2026-08-25", "on_demand_usd_per_gpu_hour": "1.1"}
    bring(installation, tmp_path, *(row | newer for row in rows))
    runs_on = {
        (one.provider, one.gpu_type): (one.backend, one.on_demand_micros_per_gpu_hour)
        for one in list_offers(installation.engine)
    }
    assert runs_on["nebius", "L40S"] == ("dstack", 1_100_000), "a list without the backend changes its price only"
    assert runs_on["akash", "L40S"] == ("simulated", 1_100_000)
    bring(installation, tmp_path, rows[0] | newer, backend="simulated")
    assert {one.backend for one in list_offers(installation.engine) if one.provider == "nebius"} == {"simulated"}


def test_a_newer_list_changes_the_price_and_undoes_no_correction(installation: Installation, tmp_path: Path) -> None:
    line = {"instance_type": "new", "gpu_type": "T4", "country": "SE", "on_demand_usd_per_gpu_hour": "0.4"}
    bring(installation, tmp_path, line)
    before = offer_of(installation, "T4")
    assert "capacity_gpus" in before.assumed
    change_offer(installation.engine, before.id, {"capacity_gpus": 2})
    change_offer(installation.engine, before.id, {"enabled": False})
    corrected = replace(before, capacity_gpus=2, assumed=tuple(n for n in before.assumed if n != "capacity_gpus"))
    assert offer_of(installation, "T4") == corrected

    newer = {"price_date": "2026-08-25", "on_demand_usd_per_gpu_hour": "0.5", "country": "", "jurisdiction": ""}
    assert bring(installation, tmp_path, line | newer).stored == 1
    (view,) = page_offers(installation.engine, installation.knowledge.gpus, gpu_type="T4")
    assert not view.enabled
    assert view.offer == replace(corrected, on_demand_micros_per_gpu_hour=500_000, price_date="2026-08-25")
    told = [(one.capacity_gpus, one.enabled) for one in price_history(installation.engine, before.id)]
    assert told[:2] == [(2, False), (2, False)]


def test_what_is_assumed_of_a_provider_follows_the_table_and_what_was_put_in_by_hand_does_not(
    installation: Installation, tmp_path: Path
) -> None:
    habits = read_habits()["*"]
    installation.sell(
        make_offer("T4", capacity_gpus=5, minimum_s=7, assumed=FROM_HABITS, instance_type="t"),
        make_offer("L4", capacity_gpus=5, minimum_s=7, instance_type="l", egress_micros_per_gib=9),
    )
    bring(installation, tmp_path, {"gpu_type": "T4", "instance_type": "t"}, {"gpu_type": "L4", "instance_type": "l"})
    assumed, stated = offer_of(installation, "T4"), offer_of(installation, "L4")
    assert (assumed.capacity_gpus, assumed.minimum_s) == (habits.capacity_gpus, habits.minimum_s)
    assert (stated.capacity_gpus, stated.minimum_s, stated.assumed, stated.egress_micros_per_gib) == (5, 7, (), 9)
    assert stated.on_demand_micros_per_gpu_hour == 1_000_000


def test_a_price_that_is_released_undoes_no_correction(installation: Installation, tmp_path: Path) -> None:
    bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "0.01"})
    change_offer(installation.engine, make_offer("L40S").id, {"capacity_gpus": 2, "enabled": False})
    (held,) = list_quarantine(installation.engine)
    release_price(installation.engine, held.id, now=installation.now)
    (view,) = page_offers(installation.engine, installation.knowledge.gpus, gpu_type="L40S")
    assert (usd([view.offer]), view.offer.capacity_gpus, view.enabled) == (0.01, 2, False)


def test_an_absurd_price_is_in_no_inventory_until_it_is_released(installation: Installation, tmp_path: Path) -> None:
    bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "0.01"})
    assert usd(list_offers(installation.engine)) == 1.0
    (held,) = list_quarantine(installation.engine)
    assert (held.doubt, held.offer.gpu_type) == ("below_band", "L40S")
    assert "too low" in held.reason
    _, applied = release_price(installation.engine, held.id, now=installation.now)
    assert (applied, usd(list_offers(installation.engine))) == (True, 0.01)
    assert list_quarantine(installation.engine) == []
    with pytest.raises(NotFound):
        drop_price(installation.engine, held.id, now=installation.now)


def test_a_price_that_is_released_behind_a_newer_one_is_not_taken_and_says_so(
    installation: Installation, tmp_path: Path
) -> None:
    bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "0.01"})
    bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "1.1", "price_date": "2026-08-25"})
    (held,) = list_quarantine(installation.engine)
    _, applied = release_price(installation.engine, held.id, now=installation.now)
    assert (applied, usd(list_offers(installation.engine))) == (False, 1.1)


def test_tenfold_yesterdays_price_is_held_and_can_be_dropped(installation: Installation, tmp_path: Path) -> None:
    bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "10"})
    (held,) = list_quarantine(installation.engine)
    assert (held.doubt, held.factor) == ("rose", 10)
    drop_price(installation.engine, held.id, now=installation.now)
    assert (list_quarantine(installation.engine), usd(list_offers(installation.engine))) == ([], 1.0)


def test_the_same_absurd_list_twice_is_held_once(installation: Installation, tmp_path: Path) -> None:
    for _ in range(2):
        bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "0.01"})
    assert len(list_quarantine(installation.engine)) == 1


def test_an_older_list_is_remembered_and_not_put_to_use(installation: Installation, tmp_path: Path) -> None:
    done = bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "0.8", "price_date": "2026-05-24"})
    assert (done.stored, done.older) == (0, 1)
    assert usd(list_offers(installation.engine)) == 1.0
    assert usd(inventory_of(installation.engine, date(2026, 6, 1))) == 0.8
    assert usd(inventory_of(installation.engine, date(2026, 8, 23))) == 1.0
    assert inventory_of(installation.engine, date(2026, 1, 1)) == []


def test_a_list_of_a_day_that_has_not_come_is_refused(installation: Installation, tmp_path: Path) -> None:
    tomorrow = (installation.now + timedelta(days=1)).date()
    assert bring(installation, tmp_path, {"price_date": tomorrow.isoformat()}).stored == 1
    with pytest.raises(InvalidOffer, match="line 2: price_date is 2099-01-01, a day that has not come"):
        bring(installation, tmp_path, {"price_date": "2099-01-01", "on_demand_usd_per_gpu_hour": "1.1"})
    assert usd(list_offers(installation.engine)) == 1.0


def test_a_machine_that_nobody_builds_stops_no_plan(installation: Installation) -> None:
    installation.sell(make_offer("T4", node_gpus=10**10, sold_gpus=(10**10,), capacity_gpus=10**10))
    installation.sell(make_offer("L4", node_gpus=1024, sold_gpus=(1024,), max_nodes=200, capacity_gpus=1024))
    made = installation.submit(make_spec()).decision
    assert made.chosen is not None
    assert made.chosen.gpu_type == "L40S"


def test_what_is_held_survives_a_new_price_and_the_history_tells_both(
    installation: Installation, tmp_path: Path
) -> None:
    installation.submit(make_spec())
    bring(installation, tmp_path, {"on_demand_usd_per_gpu_hour": "1.5"})
    (offer,) = [offer for offer in list_offers(installation.engine) if offer.gpu_type == "L40S"]
    assert (offer.reserved_gpus, usd([offer])) == (1, 1.5)
    told = [price.on_demand_micros_per_gpu_hour for price in price_history(installation.engine, offer.id)]
    assert told == [1_500_000, 1_000_000]
    with pytest.raises(NotFound):
        price_history(installation.engine, new_id())


def test_a_decision_names_its_inventory_and_can_be_made_again_on_it(installation: Installation) -> None:
    first = installation.submit(make_spec()).decision
    dearer = {"on_demand_micros_per_gpu_hour": 4_000_000, "price_date": "2026-08-24"}
    change_offer(installation.engine, make_offer("L40S").id, dearer)
    second = installation.submit(make_spec(constraints={"gpu_types": ["L40S"]})).decision
    assert first.chosen is not None
    assert first.inventory_version is not None
    assert second.inventory_version == first.inventory_version + 1
    inventory = inventory_version(installation.engine, first.inventory_version)
    assert usd(inventory) == 1.0
    again = plan(
        installation.engine, installation.knowledge, make_spec(), tenant_id=DEFAULT_TENANT, now=installation.now,
        prices_of=first.inventory_version,
    ).decision  # fmt: skip
    assert again.chosen is not None
    assert (again.inventory_version, again.chosen.cost_usd) == (first.inventory_version, first.chosen.cost_usd)


def test_a_disabled_offer_is_not_in_later_versions(installation: Installation) -> None:
    before = installation.submit(make_spec()).decision.inventory_version
    assert before is not None
    change_offer(installation.engine, make_offer("L40S").id, {"enabled": False})
    names = [{offer.gpu_type for offer in inventory_version(installation.engine, before + more)} for more in (0, 1)]
    assert names == [{"H100-SXM", "L40S"}, {"H100-SXM"}]


def test_what_is_held_and_who_is_silent_is_as_of_now_at_any_prices(installation: Installation) -> None:
    with transaction(installation.engine) as session:
        offers.send_away(session, "acme", "north", away=True)
    assert {one.free_gpus for one in inventory_of(installation.engine, date(2026, 8, 23))} == {0}
