"""What tokens cost, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scheduler.cli.plan_table import layout_label
from scheduler.cli.wording import ABSENT, columns, count, days, tokens, usd

Json = Mapping[str, Any]

HEADER = (
    "GPU", "N", "LAYOUT", "OFFER", "$/h", "AS", "IN FLIGHT", "REQ/s", "TTFT", "TPOT", "$/M IN", "$/M OUT",
    "$/M BLENDED p10..p90", "WAITS FOR",
)  # fmt: skip
RIGHT = (1, 4, 6, 7, 8, 9, 10, 11)

STOPS = {"memory": "m", "latency": "l", "rate": "r", "engine": "e"}
LEGEND = (
    "IN FLIGHT is the number of sequences that serves most; no more because of m memory, l latency, r rate (more would "
    "serve no more), e the longest batch tried. WAITS FOR: prefill / decode."
)


def tokens_text(report: Json, *, everything: bool) -> str:
    """The best offer of each GPU type, or all of them, the cheapest blended token first."""
    shown = report["costs"] if everything else report["best_of_each_gpu_type"]
    if not shown:
        return _nothing(report)
    lines = [*stream_head(report), "", *columns(HEADER, [_row(one) for one in shown], right=RIGHT), LEGEND]
    if report["unfit"]:
        lines.append("Too small, or too slow for the limits: " + _unfit(report) + ".")
    if strange := sorted({one["gpu_type"] for one in shown if not one["in_domain"]}):
        lines.append(f"Nothing like this was measured on {', '.join(strange)}: their intervals are wider.")
    dates = days(one["price_date"] for one in report["costs"])
    lines.append(f"{len(shown):,} of {len(report['costs']):,} offers, counts and layouts; prices of {dates}.")
    return "\n".join(lines)


def stream_head(report: Json) -> list[str]:
    """What was asked, and of whom."""
    asked = report["question"]
    model = asked["model"] if isinstance(asked["model"], str) else "the architecture given"
    work = f"{model}, {tokens(asked['input_length'])} in + {tokens(asked['output_length'])} out tokens"
    if asked.get("cached_prefix_length"):
        work += f", {tokens(asked['cached_prefix_length'])} of them cached"
    limits = [f"{name} ≤ {asked[key]:g} s at p90" for name, key in _LIMITS.items() if asked.get(key)]
    return [f"Tokens     {work}", f"Limits     {', '.join(limits) or 'none'}", f"Predictor  {report['model_version']}"]


_LIMITS = {"first token": "max_ttft_s", "each further token": "max_tpot_s"}


def _nothing(report: Json) -> str:
    why = f"it does not fit, or is too slow, on {_unfit(report)}" if report["unfit"] else "no offer is allowed"
    return "\n".join([*stream_head(report), "", f"Nowhere: {why}."])


def _unfit(report: Json) -> str:
    most: dict[str, int] = {}
    for one in report["unfit"]:
        most[one["gpu_type"]] = max(most.get(one["gpu_type"], 0), one["gpu_count"])
    served = {one["gpu_type"] for one in report["costs"]}
    return (
        ", ".join(
            f"{name} × {many}" + (" and fewer" if many > 1 else "") for name, many in most.items() if name not in served
        )
        or "smaller counts of the cards above"
    )


def _row(cost: Json) -> tuple[str, ...]:
    blended = cost["blended_usd_per_mtok"]
    return (
        cost["gpu_type"] + (" spot" if cost["spot"] else ""),
        str(cost["gpu_count"]),
        layout_label(cost["layout"]),
        " ".join(filter(None, (cost["provider"], cost["region"]))),
        usd(cost["usd_per_hour"]),
        cost["precision"],
        f"{count(cost['sequences_in_flight'])} {STOPS[cost['stopped_by']]}",
        f"{cost['requests_per_second']['p50']:.3g}",
        f"{cost['ttft_s']['p50']:.2g}s",
        f"{1000 * cost['tpot_s']['p50']:.0f}ms",
        _price(cost["input_usd_per_mtok"]["mid"]),
        ABSENT if cost["output_usd_per_mtok"] is None else _price(cost["output_usd_per_mtok"]["mid"]),
        f"{_price(blended['mid'])}  {_price(blended['low'])} .. {_price(blended['high'])}",
        " / ".join(filter(None, (cost["prefill_bound"], cost["decode_bound"]))),
    )


def _price(value: str) -> str:
    """Three decimals: tokens are priced in tenths of a cent."""
    return f"{Decimal(value):,.3f}"
