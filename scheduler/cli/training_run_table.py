"""What a training run costs and takes, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.cli.plan_table import layout_label
from scheduler.cli.wording import columns, count, days, duration, usd

Json = Mapping[str, Any]

HEADER = (
    "GPU", "N", "LAYOUT", "OFFER", "$/h", "$ p50", "p10..p90", "TIME p50", "p10..p90", "SCALING", "SAVES EVERY",
    "SAVING", "STOPS", "LOST", "STORAGE $",
)  # fmt: skip
RIGHT = (1, 4, 5, 7, 9, 10, 11, 12, 13, 14)

LEGEND = (
    "SCALING: throughput per GPU over that on the offer's smallest count that fits. SAVING: waiting for checkpoints. "
    "STOPS: interruptions expected. LOST: work done again, and restarts."
)


def training_run_text(report: Json, *, everything: bool) -> str:
    """The choice between money and time, then the cheapest of each GPU type; or all of them."""
    lines = _head(report)
    if not report["runs"]:
        return "\n".join([*lines, "", f"Nowhere: {_why_not(report)}."])
    if everything:
        lines += ["", *_table(report["runs"])]
    else:
        lines += ["", "Nothing is both cheaper and sooner than one of these:", *_table(report["pareto"])]
        lines += ["", "The cheapest of each GPU type:", *_table(report["best_of_each_gpu_type"])]
    lines += ["", LEGEND]
    if report["hopeless"]:
        lines.append(f"Interrupted too often to get anywhere: {_names(report['hopeless'])}.")
    dates = days(one["price_date"] for one in report["runs"])
    lines.append(f"{len(report['runs']):,} offers and counts; prices of {dates}.")
    return "\n".join(lines)


def _head(report: Json) -> list[str]:
    asked = report["question"]
    model = asked["model"] if isinstance(asked["model"], str) else "the architecture given"
    if "num_tokens" in asked:
        size = f"{count(asked['num_tokens'])} tokens"
    else:
        size = f"{count(asked['num_samples'])} samples of {asked.get('sequence_length', 2048):g} tokens"
    return [
        f"Training   {model}, {asked.get('method', 'full')}, {size} × {asked.get('epochs', 1):g}",
        f"Checkpoint {report['checkpoint_gib']:.3g} GiB",
        f"Assumed    {'; '.join(report['assumptions']) or 'nothing'}",
        f"Predictor  {report['model_version']}",
    ]


def _table(runs: Sequence[Json]) -> list[str]:
    return columns(HEADER, [_row(one) for one in runs], right=RIGHT)


def _row(run: Json) -> tuple[str, ...]:
    low, mid, high = run["p10"], run["p50"], run["p90"]
    return (
        run["gpu_type"] + (" spot" if run["spot"] else ""),
        str(run["gpu_count"]),
        layout_label(run["layout"]),
        " ".join(filter(None, (run["provider"], run["region"]))),
        usd(run["usd_per_hour"]),
        usd(mid["usd"]),
        f"{usd(low['usd'])} .. {usd(high['usd'])}",
        _hours(mid["hours"]),
        f"{_hours(low['hours'])} .. {_hours(high['hours'])}",
        f"{100 * run['scaling_efficiency']:.0f} %",
        duration(mid["checkpoint_interval_s"]),
        _hours(mid["checkpoint_hours"]),
        f"{mid['interruptions']:.2g}",
        _hours(mid["lost_hours"]),
        usd(mid["storage_usd"]),
    )


def _hours(hours: float) -> str:
    return duration(3600 * hours)


def _why_not(report: Json) -> str:
    if report["hopeless"]:
        return f"it is interrupted too often to get anywhere on {_names(report['hopeless'])}"
    if report["unfit"]:
        return f"it does not fit on {_names(report['unfit'])}"
    return "no offer is allowed"


def _names(places: Sequence[Json]) -> str:
    most: dict[str, int] = {}
    for one in places:
        most[one["gpu_type"]] = max(most.get(one["gpu_type"], 0), one["gpu_count"])
    return ", ".join(f"{name} × {many}" + (" and fewer" if many > 1 else "") for name, many in most.items())
