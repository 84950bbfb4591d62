"""From a fleet's ways to the body that is sent."""

from __future__ import annotations

import numpy as np

from scheduler.api.present_economics import deployment_fields, price_list, six, token_prices
from scheduler.api.schemas.fleet import (
    FleetApiOut,
    FleetDeploymentOut,
    FleetOut,
    FleetPointOut,
    PercentilesOut,
    TrafficOut,
    WayEndOut,
    WayOut,
)
from scheduler.domain.money import exact_usd
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.fleet_deployment import Deployment
from scheduler.economics.fleet_outcome import BINS, Outcome, Percentiles
from scheduler.economics.traffic import Traffic
from scheduler.services.fleet import FleetReport


def fleet(report: FleetReport) -> FleetOut:
    """Every way, and what the number of dedicated replicas does."""
    return FleetOut(
        question=report.spec.model_dump(mode="json", exclude_defaults=True, exclude={"requests"}),
        assumptions=list(report.workload.assumptions),
        model_version=report.model_version,
        traffic=_traffic(report.traffic),
        api=None if report.api is None else api_fields(report.api),
        price_list=price_list(report.price_list),
        ways=[_way(one) for one in report.comparison.outcomes],
        curve=[
            FleetPointOut(
                dedicated_replicas=one.dedicated,
                idle_timeout_s=one.idle_s,
                cost_usd=exact_usd(one.cost_micros),
                ttft_p95_s=None if one.ttft_s is None else six(one.ttft_s.p95),
                cold_starts=one.cold_starts,
                keeps_limit=one.keeps,
            )
            for one in report.comparison.curve
        ],
    )


def _traffic(traffic: Traffic) -> TrafficOut:
    busiest = np.histogram(traffic.arrival_s, BINS, (0.0, traffic.horizon_s))[0].max()
    return TrafficOut(
        name=traffic.name,
        requests=len(traffic),
        horizon_s=six(traffic.horizon_s),
        mean_rps=six(len(traffic) / traffic.horizon_s),
        peak_rps=six(busiest * BINS / traffic.horizon_s),
        mean_input_tokens=six(traffic.input_tokens.mean()),
        mean_output_tokens=six(traffic.output_tokens.mean()),
    )


def api_fields(api: ApiPrice) -> FleetApiOut:
    """What is said of an API wherever it is named."""
    return FleetApiOut(
        provider=api.provider,
        model_key=api.model_key,
        **token_prices(api),
        price_date=api.price_date,
    )


def _way(one: Outcome) -> WayOut:
    return WayOut(
        way=str(one.way),
        cost_usd=exact_usd(one.cost_micros),
        usd_per_mtok=exact_usd(one.micros_per_mtok),
        keeps_limit=one.keeps,
        deployment=None if one.deployment is None else _deployment(one.deployment),
        dedicated_replicas=one.dedicated,
        idle_timeout_s=one.idle_s,
        queue_s=_percentiles(one.queue_s),
        ttft_s=_percentiles(one.ttft_s),
        cold_starts=one.cold_starts,
        utilisation=None if one.utilisation is None else six(one.utilisation),
        replica_s=six(one.replica_s),
        replicas=[six(count) for count in one.replicas],
        fast=_end(one.fast),
        slow=_end(one.slow),
    )


def _end(one: Outcome | None) -> WayEndOut | None:
    if one is None or one.queue_s is None or one.ttft_s is None or one.utilisation is None:
        return None
    return WayEndOut(
        cost_usd=exact_usd(one.cost_micros),
        usd_per_mtok=exact_usd(one.micros_per_mtok),
        keeps_limit=one.keeps,
        queue_s=_seconds(one.queue_s),
        ttft_s=_seconds(one.ttft_s),
        cold_starts=one.cold_starts,
        utilisation=six(one.utilisation),
        replicas=[six(count) for count in one.replicas],
    )


def _percentiles(found: Percentiles | None) -> PercentilesOut | None:
    return None if found is None else _seconds(found)


def _seconds(found: Percentiles) -> PercentilesOut:
    return PercentilesOut(p50=six(found.p50), p95=six(found.p95), p99=six(found.p99))


def _deployment(deployment: Deployment) -> FleetDeploymentOut:
    offer = deployment.cost.offer
    return FleetDeploymentOut(
        **deployment_fields(deployment.cost).model_dump(),
        billing_increment_s=offer.billing_increment_s,
        minimum_s=offer.minimum_s,
        provision_s=six(deployment.provision_s),
        start_s=six(deployment.start_s),
    )
