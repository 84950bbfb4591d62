"""What was paid for and not used, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from scheduler.cli.wording import ABSENT, columns, moment, usd

Json = Mapping[str, Any]

WORDS = {
    "too_large_card": "too large a card",
    "too_many_cards": "too many cards",
    "idle_machine": "idle machines",
    "out_of_memory": "out of memory",
    "cold_start": "cold starts",
    "not_kept": "work not kept",
    "headroom": "headroom, nothing cheaper fits",
}


def waste_text(report: Json) -> str:
    """The total, its causes and groups, and the jobs to talk about."""
    total = report["total"]
    lines = [
        f"Waste      {report['tenant'] or 'all tenants'}, {moment(report['since'])} to {moment(report['until'])}"
        + (", simulated runs" if report["simulated"] else ""),
        f"Paid       ${usd(total['paid_usd'])} for {total['paid_gpu_hours']:,.1f} GPU-hours",
    ]
    hours = f"{total['gpu_hours']:,.1f} GPU-hours, {total['gib_hours']:,.1f} GiB-hours"
    lines.append(f"Of no use  ${usd(total['usd'])} ({_share(total)}), {hours}")
    if not total["paid_gpu_hours"]:
        return "\n".join([*lines, "", "Nothing was paid for in this time."])
    many = report["right_sized_attempts"]
    lines.append(f"Saving     ${usd(report['saving_usd'])} by right-sizing {many} attempt{'' if many == 1 else 's'}")
    rows = [
        (WORDS[one["cause"]], usd(one["usd"]), f"{one['gpu_hours']:,.1f}", f"{one['gib_hours']:,.1f}")
        for one in report["causes"]
    ]
    lines += ["", *columns(("CAUSE", "$", "GPU-HOURS", "GiB-HOURS"), rows, right=(1, 2, 3))]
    for title, groups in (("TENANT", "tenants"), ("USER", "users"), ("GPU", "gpu_types")):
        lines += ["", *_groups(title, report[groups])]
    if report["jobs"]:
        lines += ["", "The jobs to talk about:", *_jobs(report["jobs"])]
    return "\n".join(lines)


def _groups(title: str, groups: Sequence[Json]) -> list[str]:
    rows = [
        (
            one["name"] or ABSENT, usd(one["paid_usd"]), usd(one["usd"]), _share(one), f"{one['gpu_hours']:,.1f}",
            f"{one['gib_hours']:,.1f}",
        )
        for one in groups
    ]  # fmt: skip
    return columns((title, "$ PAID", "$ OF NO USE", "SHARE", "GPU-HOURS", "GiB-HOURS"), rows, right=(1, 2, 3, 4, 5))


def _jobs(jobs: Sequence[Json]) -> list[str]:
    rows = []
    for one in jobs:
        size = one["right_size"]
        rows.append((
            one["job_id"], one["job"], one["user"] or ABSENT, f"{one['gpu_type']} × {one['gpu_count']}",
            usd(one["paid_usd"]), usd(one["usd"]), WORDS[one["cause"]],
            ABSENT if size is None else f"{size['gpu_type']} × {size['gpu_count']}, {size['provider']}",
            ABSENT if size is None else usd(one["saving_usd"]),
        ))  # fmt: skip
    header = ("JOB", "NAME", "USER", "RAN ON", "$ PAID", "$ OF NO USE", "MOSTLY", "WOULD DO", "$ SAVED")
    return columns(header, rows, right=(4, 5, 8))


def _share(sums: Json) -> str:
    paid = Decimal(sums["paid_usd"])
    return f"{100 * Decimal(sums['usd']) / paid:.0f} %" if paid else ABSENT
