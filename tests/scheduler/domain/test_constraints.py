"""Each constraint with its reason code; what is unknown never satisfies one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.errors import UnknownGpuType
from predictor.hardware import load_gpu_types
from predictor.workload import Software
from predictor.workloads.spec import resolve
from scheduler.domain.candidates import enumerate_candidates
from scheduler.domain.constraints import Filter
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.jurisdictions import EEA, EU, satisfies
from scheduler.domain.offers import BESIDE, FILES, Offer
from scheduler.domain.spec import JobSpec, demands_of
from scheduler.domain.verdicts import Code
from tests.support.offers import make_custom_spec, make_offer, make_spec

GPUS = load_gpu_types()


def rules(spec: JobSpec) -> Filter:
    workload = resolve(spec.workload, load_models(), Software())
    return Filter(spec.constraints, workload, GPUS, demands=demands_of(spec))


def code(constraints: dict[str, Any], offer: Offer) -> Code | None:
    verdict = rules(make_spec(constraints=constraints)).verdict(offer)
    return None if verdict is None else verdict.code


@pytest.mark.parametrize(
    ("constraints", "changes", "expected"),
    [
        ({}, {}, None),
        ({"providers": ["ACME"]}, {}, None),
        ({"providers": ["other"]}, {}, Code.PROVIDER),
        ({"regions": ["south"]}, {}, Code.REGION),
        ({"gpu_types": ["H100"]}, {}, None),
        ({"gpu_types": ["L40S"]}, {}, Code.GPU_TYPE),
        ({"exclude_gpu_types": ["H100"]}, {}, Code.GPU_TYPE),
        ({"gpu_types": ["H100-SXM"]}, {"gpu_type": "H100"}, Code.GPU_TYPE),  # it may be another variant
        ({"gpu_types": ["H100"]}, {"gpu_type": "H100"}, None),
        ({"exclude_gpu_types": ["H100-PCIe"]}, {"gpu_type": "H100"}, Code.GPU_TYPE),
        ({"jurisdictions": ["EU"]}, {}, None),
        ({"jurisdictions": ["fi", "US"]}, {}, None),
        ({"jurisdictions": ["EU"]}, {"country": "US"}, Code.JURISDICTION),
        ({"jurisdictions": ["EU"]}, {"country": None, "jurisdiction": "unknown"}, Code.JURISDICTION_UNKNOWN),
        ({"provider_jurisdictions": ["EU"]}, {"provider_hq": "US"}, Code.PROVIDER_JURISDICTION),
        ({"provider_jurisdictions": ["EU"]}, {"provider_hq": None}, Code.JURISDICTION_UNKNOWN),
        ({"tenancy": "dedicated"}, {"tenancy": "dedicated"}, None),
        ({"tenancy": "dedicated"}, {"tenancy": "unknown"}, Code.TENANCY),
        ({"gpu_count": 3}, {}, Code.GPU_COUNT),
        ({"gpu_count": 16, "max_gpus": 16}, {}, Code.GPU_COUNT),
        ({"gpu_count": 16}, {"max_nodes": 2}, None),  # an exact count is respected beyond the default of max_gpus
        ({"max_gpus": 1}, {"sold_gpus": (8,)}, Code.GPU_COUNT),
        ({"spot": "require"}, {}, Code.SPOT),
        ({}, {"on_demand_micros_per_gpu_hour": None, "spot_micros_per_gpu_hour": 1}, Code.SPOT),
        ({"spot": "allow"}, {"on_demand_micros_per_gpu_hour": None, "spot_micros_per_gpu_hour": 1}, None),
        ({"spot": "allow"}, {"on_demand_micros_per_gpu_hour": None}, Code.NO_PRICE),
        ({}, {"gpu_type": "T4"}, Code.PRECISION_UNSUPPORTED),  # bf16 training on a card without it
        ({}, {"gpu_type": "CPU"}, Code.GPU_TYPE),
    ],
)
def test_each_constraint_has_its_reason(
    constraints: dict[str, Any], changes: dict[str, Any], expected: Code | None
) -> None:
    assert code(constraints, make_offer(**changes)) is expected


def test_custom_work_may_run_on_the_host() -> None:
    assert rules(make_custom_spec()).verdict(make_offer("CPU", 0.0)) is None


@pytest.mark.parametrize(
    ("run", "backend", "expected"),
    [
        ({"command": ["true"]}, "kubernetes", Code.IMAGE),
        ({"command": ["true"], "image": "a/b:1"}, "kubernetes", None),
        ({"command": ["true"]}, "dstack", Code.IMAGE),
        ({"command": ["true"], "image": "a/b:1", "secrets": {"TOKEN": "hub"}}, "dstack", Code.RUN),
        ({"command": ["true"]}, "simulated", None),
        (None, "kubernetes", None),  # a plan may do without either
        ({"command": ["true"], "image": "a/b:1", "secrets": {"TOKEN": "hub"}}, "kubernetes", None),
        (
            {"command": ["true"], "image": "a/b:1", "inputs": [{"from": "s3://bucket/a", "to": "a"}]},
            "kubernetes",
            Code.RUN,
        ),
        ({"command": ["true"], "outputs": [{"from": "out", "to": "s3://bucket/out/"}]}, "slurm", None),
        ({"command": ["true"], "secrets": {"TOKEN": "hub"}}, "local", None),
        ({"command": ["true"], "secrets": {}}, "slurm", None),
    ],
)
def test_what_a_run_asks_for_is_carried_out_or_the_offer_is_passed_by(
    run: dict[str, Any] | None, backend: str, expected: Code | None
) -> None:
    spec = make_spec(run=run)
    verdict = rules(spec).verdict(make_offer(backend=backend))
    assert (None if verdict is None else verdict.code) is expected


def test_a_cluster_moves_files_where_it_has_an_image_that_can() -> None:
    files = {"inputs": [{"from": "s3://bucket/a", "to": "a"}], "outputs": [{"from": "b", "to": "s3://bucket/b"}]}
    spec, offer = make_spec(run={"command": ["true"], "image": "a/b:1", **files}), make_offer(backend="kubernetes")
    verdict = rules(spec).verdict(offer)
    assert verdict is not None
    assert verdict.text.endswith(
        "cannot carry out run.inputs, run.outputs unless PYTHIA_KUBERNETES_STAGING_IMAGE is set"
    )
    workload = resolve(spec.workload, load_models(), Software())
    given = {"kubernetes": BESIDE["kubernetes"] | FILES}
    assert Filter(spec.constraints, workload, GPUS, demands=demands_of(spec), beside=given).verdict(offer) is None


@pytest.mark.parametrize(
    ("spot", "on_demand", "cheap", "expected"),
    [
        ("forbid", 3, 1, {(3, False)}),
        ("allow", 3, 1, {(1, True), (3, False)}),  # the risk of the cheaper one is priced, so both are looked at
        ("require", 1, 3, {(3, True)}),
        ("allow", 3, None, {(3, False)}),
        ("allow", None, 3, {(3, True)}),
    ],
)
def test_every_price_that_the_spot_rule_allows_is_looked_at(
    spot: str, on_demand: int | None, cheap: int | None, expected: set[tuple[int, bool]]
) -> None:
    offer = make_offer(
        sold_gpus=(1,), on_demand_micros_per_gpu_hour=on_demand, spot_micros_per_gpu_hour=cheap, node_gpus=1
    )
    spec = make_spec(constraints={"spot": spot})
    workload = resolve(spec.workload, load_models(), Software())
    proposals = enumerate_candidates(spec.constraints, workload, [offer], GPUS)
    lots = [proposals.inventory.stock.lot(place) for place in proposals.places.tolist()]
    assert {(lot.micros_per_gpu_hour, lot.spot) for lot in lots} == expected


def test_an_unknown_gpu_type_in_a_constraint_is_refused() -> None:
    with pytest.raises(UnknownGpuType, match="H999"):
        rules(make_spec(constraints={"gpu_types": ["H999"]}))


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        ({"gpu_count": 4, "max_gpus": 2}, "max_gpus"),
        ({"gpu_count": 4, "layout": {"tensor_parallel": 8}}, "gpu_count is 4"),
        ({"gpu_types": ["L40S"], "exclude_gpu_types": ["l40s"]}, "both"),
        ({"deadline": "2026-12-01T06:00:00"}, "timezone"),
        ({"max_cost_usd": 0}, "greater than 0"),
        ({"min_fit_probability": 1.5}, "less than 1"),
        ({"gpu_tpyes": ["L40S"]}, "gpu_tpyes"),
    ],
)
def test_contradictions_are_refused_with_a_sentence(constraints: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        make_spec(constraints=constraints)


def test_the_union_has_27_members_and_the_area_three_more() -> None:
    assert (len(EU), len(EEA - EU), EU < EEA) == (27, 3, True)


@given(st.one_of(st.none(), st.text(max_size=3)), st.lists(st.sampled_from(["EU", "EEA", "US", "FI"]), min_size=1))
def test_an_unknown_country_satisfies_nothing(country: str | None, wanted: list[str]) -> None:
    if not country:
        assert satisfies(country, wanted) is None
    else:
        in_groups = {"EU": EU, "EEA": EEA}
        assert satisfies(country, wanted) == any(
            country.upper() == word or country.upper() in in_groups.get(word, ()) for word in wanted
        )


def test_a_group_that_a_source_names_stands_for_itself_and_what_it_is_part_of() -> None:
    assert satisfies(None, ["EEA"], "EU") is True
    assert satisfies(None, ["EU"], "EEA") is None
    assert satisfies(None, ["FI"], "EU") is None
    assert satisfies(None, ["EU"], "other") is None
