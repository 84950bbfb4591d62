"""What was not used, as sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scheduler.api.schemas.economics import (
    JobWasteOut,
    RightSizeOut,
    WasteCauseOut,
    WasteGroupOut,
    WasteOut,
    WasteSumsOut,
)
from scheduler.domain.money import exact_usd
from scheduler.economics.waste import JobWaste, Sums
from scheduler.services.waste import WasteReport


def waste(report: WasteReport) -> WasteOut:
    """All groups, the dearest first."""
    found = report.waste
    return WasteOut(
        since=report.since,
        until=report.until,
        tenant=report.tenant,
        simulated=report.simulated,
        total=WasteSumsOut(**_sums(found.total)),
        causes=[
            WasteCauseOut(
                cause=cause, usd=exact_usd(sums.micros), gpu_hours=round(sums.gpu_hours, 3),
                gib_hours=round(sums.gib_hours, 3),
            )
            for cause, sums in found.by_cause
        ],
        tenants=_groups(found.by_tenant),
        users=_groups(found.by_user),
        gpu_types=_groups(found.by_gpu_type),
        saving_usd=exact_usd(found.saving_micros),
        right_sized_attempts=found.right_sized,
        jobs=[_job(one) for one in found.jobs],
    )  # fmt: skip


def _groups(groups: Sequence[tuple[str | None, Sums]]) -> list[WasteGroupOut]:
    return [WasteGroupOut(name=name, **_sums(sums)) for name, sums in groups]


def _sums(sums: Sums) -> dict[str, Any]:
    return {
        "paid_usd": exact_usd(sums.paid_micros), "paid_gpu_hours": round(sums.paid_gpu_hours, 3),
        "usd": exact_usd(sums.micros), "gpu_hours": round(sums.gpu_hours, 3), "gib_hours": round(sums.gib_hours, 3),
    }  # fmt: skip


def _job(one: JobWaste) -> JobWasteOut:
    better = one.better
    return JobWasteOut(
        job_id=one.job_id,
        job=one.job,
        tenant=one.tenant,
        user=one.user,
        gpu_type=one.gpu_type,
        gpu_count=one.gpu_count,
        cause=one.cause,
        saving_usd=exact_usd(one.saving_micros),
        right_size=None
        if better is None
        else RightSizeOut(
            gpu_type=better.gpu_type, gpu_count=better.gpu_count, provider=better.provider,
            usd=exact_usd(better.micros),
        ),
        **_sums(one.sums),
    )  # fmt: skip
