"""What tokens cost, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from predictor.model import Predictor as BarePredictor
from scheduler.services.knowledge import Predictor

ASKED: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B", "precision": "fp8", "input_length": 1000, "output_length": 200,
}  # fmt: skip


@pytest.fixture
def predictor() -> Predictor:
    """Arithmetic alone: it knows what a phase waits for."""
    return BarePredictor(None)


def test_tokens_are_priced_on_the_inventory(client: TestClient) -> None:
    body = client.post("/v1/economics/tokens", json=ASKED).json()
    assert {one["gpu_type"] for one in body["best_of_each_gpu_type"]} == {"H100-SXM", "L40S"}
    blended = [float(one["blended_usd_per_mtok"]["mid"]) for one in body["costs"]]
    assert blended == sorted(blended)
    first = body["costs"][0]
    assert 0 < float(first["blended_usd_per_mtok"]["low"]) < blended[0] < float(first["blended_usd_per_mtok"]["high"])
    assert first["requests_per_second"]["p10"] < first["requests_per_second"]["p90"]
    assert body["question"] == ASKED


def test_a_limit_nobody_keeps_leaves_nothing_but_the_names(client: TestClient) -> None:
    body = client.post("/v1/economics/tokens", json=ASKED | {"max_ttft_s": 1e-6}).json()
    assert body["costs"] == []
    assert {one["gpu_type"] for one in body["unfit"]} == {"H100-SXM", "L40S"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "nobody/nothing"}, "nobody/nothing"),
        ({"input_length": 0}, "input_length"),
        ({"max_tpot_s": -1}, "max_tpot_s"),
        ({"cached_prefix_length": 2000}, "cached_prefix_length"),
        ({"prompt": 3}, "prompt"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(client: TestClient, change: dict[str, Any], said: str) -> None:
    answer = client.post("/v1/economics/tokens", json=ASKED | change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_apis_are_compared_with_the_inventory(client: TestClient) -> None:
    body = client.post("/v1/economics/crossover", json=ASKED | {"max_utilisation": 0.5}).json()
    requests = [float(one["request_usd"]) for one in body["crossings"]]
    assert requests == sorted(requests)
    for one in body["crossings"]:
        found, lowest = one["crossing"], one["lowest_utilisation"]
        assert (found is None) == (lowest["utilisation"] > 0.5)
        assert lowest["utilisation_low"] < lowest["utilisation"] < lowest["utilisation_high"]
    assert len(body["curve"]) > 100


def test_a_longer_shared_prefix_never_raises_either_price(client: TestClient) -> None:
    cached = {"api_prices": [PRICE | {"cached_input_usd_per_mtok": "0.1"}]}
    body = client.post("/v1/economics/crossover", json=ASKED | cached).json()
    points = body["shared_prefix"]
    assert [one["cached_tokens"] for one in points] == [0, 100, 200, 350, 500, 650, 800, 900, 950]
    # 1,000 × $0.21 and 200 × $0.63 per million; half of the prompt at $0.10
    assert (points[0]["api_request_usd"], points[4]["api_request_usd"]) == ("0.000336", "0.000281")
    for name in ("api_request_usd", "own_request_usd"):
        usd = [float(one[name]) for one in points]
        assert usd == sorted(usd, reverse=True)
    none = body["crossings"][0]["crossing"] or body["crossings"][0]["lowest_utilisation"]
    assert points[0]["utilisation"] == none["utilisation"]
    # a request costs as much at the break-even use as at the API
    own, api = (float(points[0][name]) for name in ("own_request_usd", "api_request_usd"))
    assert points[0]["utilisation"] == pytest.approx(0.8 * own / api, rel=1e-5)


def test_a_model_without_a_price_per_token_is_one_sentence(client: TestClient) -> None:
    answer = client.post("/v1/economics/crossover", json=ASKED | {"model": "Qwen/Qwen2.5-0.5B"})
    assert answer.status_code == 422
    assert "no price per token of Qwen/Qwen2.5-0.5B is known" in answer.json()["detail"]


DAY = ASKED | {"mean_rps": 0.5, "peak_rps": 1, "max_ttft_p95_s": 20}


def test_ways_to_serve_a_day_are_compared(client: TestClient) -> None:
    body = client.post("/v1/economics/fleet", json=DAY).json()
    assert {one["way"] for one in body["ways"]} == {"api", "dedicated", "scale_to_zero", "hybrid"}
    kept = [float(one["cost_usd"]) for one in body["ways"] if one["keeps_limit"]]
    assert kept == sorted(kept)
    assert body["traffic"]["requests"] == pytest.approx(43_200, rel=0.05)
    assert body["curve"][0]["dedicated_replicas"] == 0
    dedicated = next(one for one in body["ways"] if one["way"] == "dedicated")
    assert set(dedicated["replicas"]) == {dedicated["dedicated_replicas"]}
    assert dedicated["ttft_s"]["p95"] <= 20


def test_requests_may_be_given(client: TestClient) -> None:
    body = client.post("/v1/economics/fleet", json=ASKED | {"requests": [[0, 900, 100], [30, 1100, 300]]}).json()
    assert body["traffic"]["mean_input_tokens"] == 1000
    assert "requests" not in body["question"]


WITHOUT_LENGTHS = {name: value for name, value in ASKED.items() if not name.endswith("put_length")}


def test_requests_say_how_long_they_are(client: TestClient) -> None:
    body = client.post("/v1/economics/fleet", json=WITHOUT_LENGTHS | {"requests": [[0, 900, 100], [30, 1300, 300]]})
    assert (body.json()["question"]["input_length"], body.json()["question"]["output_length"]) == (1100, 200)
    answer = client.post("/v1/economics/fleet", json=WITHOUT_LENGTHS | {"mean_rps": 1})
    assert answer.status_code == 422
    assert "input_length is missing" in answer.json()["detail"]


def test_of_a_short_prompt_no_more_is_cached_than_it_has(client: TestClient) -> None:
    def ways(lengths: tuple[int, int], cached: int) -> dict[str, Any]:
        requests = [[60.0 * place, lengths[place % 2], 200] for place in range(40)]
        asked = {"requests": requests, "cached_prefix_length": cached, "constraints": {"gpu_types": ["L40S"]}}
        body = client.post("/v1/economics/fleet", json=WITHOUT_LENGTHS | asked).json()
        return {one["way"]: one for one in body["ways"]}

    mixed, even = ways((500, 5500), 2900), ways((3000, 3000), 1700)
    assert mixed["api"]["cost_usd"] == even["api"]["cost_usd"]
    assert mixed["dedicated"]["cost_usd"] == even["dedicated"]["cost_usd"]
    assert mixed["dedicated"]["utilisation"] == pytest.approx(even["dedicated"]["utilisation"], rel=0.01)
    assert float(mixed["scale_to_zero"]["cost_usd"]) == pytest.approx(
        float(even["scale_to_zero"]["cost_usd"]), rel=0.02
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "mean_rps"),
        ({"mean_rps": 1, "requests": [[0, 1, 1]]}, "contradict"),
        ({"requests": []}, "requests"),
        ({"requests": [[0, 0, 1]]}, "requests"),
        ({"requests": [[-1, 1, 1]]}, "requests"),
        ({"requests": [[0, 5000, 200]]}, "input_length is 1000, but the requests have 5000"),
        ({"requests": [[0, 1000, 800]]}, "output_length is 200, but the requests have 800"),
        ({"mean_rps": 1, "peak_rps": 0.5}, "peak_rps"),
        ({"mean_rps": 20}, "--offline"),
        ({"peak_rps": 2}, "mean_rps"),
        ({"mean_rps": 1, "shape": "round"}, "shape"),
        ({"mean_rps": 1, "reserved_discount": 1}, "reserved_discount"),
        ({"mean_rps": 1, "api_provider": "nobody"}, "nobody"),
        ({"mean_rps": 1, "load_gb_s": 1e-300}, "load_gb_s"),
    ],
)
def test_a_fleet_that_cannot_be_asked_for_is_one_sentence(
    client: TestClient, change: dict[str, Any], said: str
) -> None:
    answer = client.post("/v1/economics/fleet", json=ASKED | change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


RUN: dict[str, Any] = {"model": "Qwen/Qwen2.5-0.5B", "num_samples": 100_000, "epochs": 2.0, "evaluation_share": 0.05}


def test_a_training_run_is_priced_on_the_inventory(client: TestClient) -> None:
    body = client.post("/v1/economics/training-run", json=RUN).json()
    assert body["question"] == RUN
    assert {one["gpu_type"] for one in body["best_of_each_gpu_type"]} == {"H100-SXM", "L40S"}
    usd = [float(one["p50"]["usd"]) for one in body["runs"]]
    assert usd == sorted(usd)
    hours = [one["p50"]["hours"] for one in body["pareto"]]
    assert hours == sorted(hours, reverse=True)
    for one in body["runs"]:
        mid = one["p50"]
        parts = ("training_hours", "evaluation_hours", "checkpoint_hours", "lost_hours")
        assert 0 < sum(mid[part] for part in parts) <= mid["hours"]
        assert mid["evaluation_hours"] == pytest.approx(0.05 * mid["training_hours"], rel=1e-4)
        assert one["p10"]["hours"] < mid["hours"] < one["p90"]["hours"]
    assert any("Llama 3" in said for said in body["assumptions"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_tokens": 5}, "num_tokens"),
        ({"sequence_length": 1e-300}, "sequence_length"),
        ({"model": "nobody/nothing"}, "nobody/nothing"),
        ({"lora_rank": 8}, "lora"),
    ],
)
def test_a_training_run_that_cannot_be_read_is_one_sentence(
    client: TestClient, change: dict[str, Any], said: str
) -> None:
    answer = client.post("/v1/economics/training-run", json=RUN | change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_quiet_installation_wasted_nothing(client: TestClient) -> None:
    body = client.get("/v1/economics/waste", params={"tenant": "default"}).json()
    assert body["total"]["paid_usd"] == "0.00"
    assert (body["tenant"], body["causes"], body["jobs"]) == ("default", [], [])
    assert body["since"] < body["until"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"tenant": "nobody"}, 404, "nobody"),
        ({"since": "2030-01-01T00:00:00Z"}, 422, "not in the past"),
        ({"since": "2026-01-01T00:00:00"}, 422, "since"),
        ({"since": "yesterday"}, 422, "since"),
    ],
)
def test_waste_that_cannot_be_asked_for_is_one_sentence(
    client: TestClient, query: dict[str, str], status: int, said: str
) -> None:
    answer = client.get("/v1/economics/waste", params=query)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_waste_needs_a_key(client: TestClient) -> None:
    assert client.get("/v1/economics/waste", headers={"Authorization": ""}).status_code == 401


FLEET: dict[str, Any] = {
    "gpu_type": "H100-SXM", "gpus": 8, "capital_usd_per_gpu": 30_000, "reserved_usd_per_gpu_hour": 2.0,
}  # fmt: skip


def test_ways_to_come_by_gpus_are_compared_at_the_inventory_s_price(client: TestClient) -> None:
    body = client.post("/v1/economics/roi", json=FLEET | {"utilisation": 0.9}).json()
    assert {one["way"] for one in body["ways"]} == {"buy", "reserved", "on_demand"}
    usd = [float(one["usd"]) for one in body["ways"]]
    assert usd == sorted(usd)
    assert any("3 (the cheapest offer)" in said for said in body["assumptions"])
    for one in body["ways"]:
        assert float(one["drawn"]["p10"]) <= float(one["drawn"]["p90"])
        assert len(one["cumulative_usd"]) == 37


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gpu_type": "H9000"}, "H9000"),
        ({"gpu_type": "H200-SXM"}, "on demand"),
        ({"pue": 0}, "pue"),
        ({"max_utilisation": 1e-30}, "max_utilisation"),
    ],
)
def test_a_fleet_that_cannot_be_read_is_one_sentence(client: TestClient, change: dict[str, Any], said: str) -> None:
    answer = client.post("/v1/economics/roi", json=FLEET | change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_the_largest_figures_are_still_written(client: TestClient) -> None:
    most = {
        "gpus": 100_000, "months": 120, "utilisation": 10, "growth": 2, "price_fall": -1, "discount_rate": 0,
        "on_demand_usd_per_gpu_hour": 10_000, "capital_usd_per_gpu": 10_000_000,
    }  # fmt: skip
    assert client.post("/v1/economics/roi", json=FLEET | most).status_code == 200


BILL: dict[str, Any] = {
    "as_of": "2026-12-01", "peak_over_mean": 2,
    "models": [ASKED | {"monthly_usd": "20000", "requests_per_day": 300_000, "served_in": "US", "provider_hq": "US"}],
}  # fmt: skip


def test_a_bill_is_assessed_on_the_inventory(client: TestClient) -> None:
    body = client.post("/v1/economics/assess", json=BILL).json()
    (found,) = body["findings"]
    totals = [float(way["total_usd"]) for way in found["ways"]]
    assert totals == sorted(totals)
    assert {way["way"] for way in found["ways"]} >= {"stay", "dedicated", "elastic"}
    assert found["best"] == next(way["way"] for way in found["ways"] if way["refused"] is None)
    stay = next(way for way in found["ways"] if way["way"] == "stay")
    assert float(stay["monthly_usd"][0]) == pytest.approx(20_000)
    assert all(len(way["monthly_usd"]) == 24 for way in found["ways"])
    assert found["schedule"]["shadow_start"] == body["shadow_start"]


def test_where_machines_stand_and_where_companies_sit_are_two_questions(client: TestClient) -> None:
    def stay(**constraints: object) -> str:
        body = client.post("/v1/economics/assess", json=BILL | {"constraints": constraints}).json()
        return str(next(way for way in body["findings"][0]["ways"] if way["way"] == "stay")["refused"])

    assert "stand in US" in stay(jurisdictions=["EU"])
    assert "sits in US" in stay(provider_jurisdictions=["EU"])
    both = stay(jurisdictions=["EU"], provider_jurisdictions=["CH"])
    assert "stand in US, EU required" in both
    assert "sits in US, CH required" in both
    assert stay(jurisdictions=["US"], provider_jurisdictions=["US"]) == "None"


def test_another_api_is_not_another_price_of_who_is_paid_now(client: TestClient) -> None:
    prices = [PRICE, PRICE | {"model_key": "acme/8b-too"}, PRICE | {"provider": "dear", "input_usd_per_mtok": "5"}]
    use = ASKED | {"requests_per_day": 1000, "provider": "acme"}
    body = client.post("/v1/economics/assess", json=BILL | {"models": [use], "api_prices": prices}).json()
    (elsewhere,) = (way for way in body["findings"][0]["ways"] if way["way"] == "other_api")
    assert elsewhere["api"]["provider"] == "dear"


@pytest.mark.parametrize(("per_day", "off"), [(200_000, 0.001), (800_000, 0.15)])
def test_what_comes_and_goes_costs_what_the_simulation_of_that_day_says(
    client: TestClient, per_day: float, off: float
) -> None:
    # the first month's day is simulated up to 400,000 requests, and interpolated from there to 1.6 million
    cards = {"gpu_types": ["L40S"], "max_gpus": 1}
    use = BILL["models"][0] | {"requests_per_day": per_day, "max_ttft_s": 10, "constraints": cards}
    body = client.post("/v1/economics/assess", json=BILL | {"models": [use]}).json()
    (way,) = (one for one in body["findings"][0]["ways"] if one["way"] == "elastic")
    day = ASKED | {
        "mean_rps": per_day / 86_400, "peak_rps": per_day / 43_200, "max_ttft_s": 10, "max_ttft_p95_s": 10,
        "constraints": cards,
    }  # fmt: skip
    found = client.post("/v1/economics/fleet", json=day).json()
    usd = min(float(one["cost_usd"]) for one in found["ways"] if one["way"] in ("scale_to_zero", "hybrid"))
    assert float(way["monthly_usd"][0]) == pytest.approx(usd * 730 / 24, rel=off)


def test_what_is_late_says_from_when_it_can_be(client: TestClient) -> None:
    body = client.post("/v1/economics/assess", json=BILL | {"decide_by": "2026-12-10"}).json()
    (found,) = body["findings"]
    assert found["best"] in ("dedicated", "elastic", "other_api")
    (said,) = (one for one in found["says"] if "shadow_start" in one["figures"])
    # of 49 days before the decision, 9 are left: 40 days late
    assert (said["figures"]["shadow_start"], said["figures"]["late_days"]) == ("2026-11-12", 40)
    assert said["figures"]["earliest_shadow_start"] == "2026-12-22"  # 7 to deliver and 14 to set up from the first on
    assert "should have started on 2026-11-12" in said["text"]
    assert "Ordered at once, it starts on 2026-12-22" in said["text"]


def test_an_api_of_which_nothing_is_known_satisfies_nothing(client: TestClient) -> None:
    unknown = {key: value for key, value in BILL["models"][0].items() if key not in ("served_in", "provider_hq")}
    asked = BILL | {"models": [unknown], "constraints": {"jurisdictions": ["EU"]}}
    (found,) = client.post("/v1/economics/assess", json=asked).json()["findings"]
    assert "not known" in next(way for way in found["ways"] if way["way"] == "stay")["refused"]
    assert not any(way["way"] == "other_api" for way in found["ways"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": []}, "models"),
        ({"models": [ASKED]}, "monthly_usd, requests_per_day or both"),
        ({"models": [ASKED | {"model": "Qwen/Qwen2.5-0.5B", "monthly_usd": "5"}]}, "give both"),
        ({"models": [ASKED | {"monthly_usd": "-5"}]}, "monthly_usd"),
        ({"models": [ASKED | {"monthly_usd": "1e30"}]}, "monthly_usd"),
        ({"models": [ASKED | {"monthly_usd": "5", "served_in": "Mars"}]}, "served_in"),
        ({"credits": {"usd": "5", "expires": "2026-11-30"}}, "before 2026-12-01"),
        ({"decide_by": "2020-01-01"}, "decide_by"),
        ({"as_of": "soon"}, "as_of"),
        ({"as_of": "9999-12-31"}, "as_of"),
        ({"decide_by": "9999-12-31"}, "decide_by"),
        ({"decide_by": "2060-01-01"}, "three years"),
        ({"credits": {"usd": "5", "expires": "2060-01-01"}}, "three years"),
        ({"models": [ASKED | {"monthly_usd": "5", "requests_per_day": 1e-300}]}, "requests_per_day"),
        ({"growth": -2}, "growth"),
        ({"max_utilisation": 1e-30}, "max_utilisation"),
        ({"own": {"gpu_type": "H100-SXM"}}, "capital_usd_per_gpu"),
        ({"own": {"gpu_type": "H9000", "capital_usd_per_gpu": 1}}, "H9000"),
    ],
)
def test_a_questionnaire_that_cannot_be_read_is_one_sentence(
    client: TestClient, change: dict[str, Any], said: str
) -> None:
    answer = client.post("/v1/economics/assess", json=BILL | change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_the_smallest_and_the_largest_bills_have_an_answer(client: TestClient) -> None:
    latest = {"growth": 20, "horizon_months": 60, "credits": {"usd": "1000000000", "expires": "2029-11-29"}}
    for requests, usd, more in (
        (1e-6, "0.000001", {"growth": -0.99}), (1e9, "0.000000000000000001", {}), (1e9, "1000000000", latest),
    ):  # fmt: skip
        use = BILL["models"][0] | {"requests_per_day": requests, "monthly_usd": usd}
        answer = client.post("/v1/economics/assess", json=BILL | {"models": [use]} | more)
        assert answer.status_code == 200, answer.text


PRICE: dict[str, Any] = {
    "provider": "acme", "model_key": "acme/8b", "model": "meta-llama/Llama-3.1-8B-Instruct",
    "input_usd_per_mtok": "0.21", "output_usd_per_mtok": "0.63", "price_date": "2026-11-20",
}  # fmt: skip


def test_one_s_own_prices_are_used_instead_of_those_that_ship(client: TestClient) -> None:
    body = client.post("/v1/economics/crossover", json=ASKED | {"api_prices": [PRICE]}).json()
    assert [one["provider"] for one in body["crossings"]] == ["acme"]
    assert body["crossings"][0]["request_usd"] == "0.000336"  # 1,000 × $0.21 and 200 × $0.63 per million
    assert body["price_list"] == {
        "name": "given with the question", "oldest": "2026-11-20", "newest": "2026-11-20", "doubts": [],
    }  # fmt: skip
    assert "api_prices" not in body["question"]
    fleet = client.post("/v1/economics/fleet", json=DAY | {"api_prices": [PRICE]}).json()
    assert (fleet["api"]["provider"], fleet["api"]["price_date"]) == ("acme", "2026-11-20")


def test_a_price_that_is_hard_to_believe_is_used_and_named(client: TestClient) -> None:
    dear = PRICE | {"input_usd_per_mtok": "210"}
    body = client.post("/v1/economics/crossover", json=ASKED | {"api_prices": [dear]}).json()
    assert body["crossings"][0]["input_usd_per_mtok"] == "210"
    (doubt,) = body["price_list"]["doubts"]
    assert "acme/8b" in doubt


@pytest.mark.parametrize(("usd", "said"), [(2e-8, "0.00000002"), ("1E+3", "1000")])
def test_prices_are_never_written_in_powers_of_ten(client: TestClient, usd: float | str, said: str) -> None:
    names = ("input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok")
    prices = {"api_prices": [PRICE | dict.fromkeys(names, usd)]}
    crossover = client.post("/v1/economics/crossover", json=ASKED | prices).json()
    fleet = client.post("/v1/economics/fleet", json=ASKED | prices | {"requests": [[0, 1000, 200]]}).json()
    asked = BILL | prices | {"models": [BILL["models"][0] | {"provider": "acme"}]}
    assessed = client.post("/v1/economics/assess", json=asked).json()
    for sold in (crossover["crossings"][0], fleet["api"], assessed["findings"][0]["listed"]):
        assert [sold[name] for name in names] == [said] * 3
    assert all(f"${said} per million" in one for one in crossover["price_list"]["doubts"])


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ([], "api_prices"),
        ([PRICE | {"input_usd_per_mtok": "-1"}], "api_prices.0.input_usd_per_mtok"),
        ([PRICE | {"output_usd_per_mtok": "100000"}], "api_prices.0.output_usd_per_mtok"),
        ([PRICE, PRICE], "twice"),
        ([PRICE | {"cached_input_usd_per_mtok": "5"}], "cached_input_usd_per_mtok is above"),
        ([PRICE | {"price_date": "20"}], "price_date"),
        ([PRICE | {"model": "Qwen/Qwen2.5-7B"}], "no price per token"),
    ],
)
def test_prices_that_cannot_be_true_are_one_sentence(
    client: TestClient, prices: list[dict[str, Any]], said: str
) -> None:
    answer = client.post("/v1/economics/crossover", json=ASKED | {"api_prices": prices})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_what_an_api_asks_for_a_gpu_s_work_follows_from_tokens_and_its_prices(client: TestClient) -> None:
    body = client.post("/v1/economics/tokens", json=ASKED | {"constraints": {"gpu_types": ["H100-SXM"]}}).json()
    per_gpu_hour = max(one["requests_per_second"]["p50"] * 3600 / one["gpu_count"] for one in body["costs"])
    hourly = per_gpu_hour * 0.000336  # 1,000 × $0.21 and 200 × $0.63 per million
    certain = {"utilisation": 0.5, "growth": 0, "price_fall": 0, "months": 12, "discount_rate": 0}
    asked = {"gpu_type": "H100-SXM", "gpus": 8, "work": ASKED, "api_prices": [PRICE]} | certain
    roi = client.post("/v1/economics/roi", json=asked).json()
    api = next(one for one in roi["ways"] if one["way"] == "api")
    assert float(api["usd"]) == pytest.approx(8 * 0.5 * 8760 * hourly, rel=1e-4)
    assert any("at acme, price of 2026-11-20" in said for said in roi["assumptions"])
    assert roi["price_list"]["newest"] == "2026-11-20"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"api_provider": "nobody"}, "nobody"),
        ({"work": ASKED | {"max_ttft_s": 1e-6}}, "no offer of H100-SXM"),
        ({"work": ASKED | {"model": "Qwen/Qwen2.5-0.5B"}}, "no price per token"),
    ],
)
def test_work_that_no_api_or_no_card_does_is_one_sentence(
    client: TestClient, change: dict[str, Any], said: str
) -> None:
    answer = client.post("/v1/economics/roi", json={"gpu_type": "H100-SXM", "gpus": 8, "work": ASKED} | change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
