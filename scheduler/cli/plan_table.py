"""A decision as a person reads it: what was asked, every kind of candidate with its verdict, what comes next.

A pure function of the JSON that `POST /v1/plans` returns, so that any client's copy prints the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from predictor.forecast import Breakdown
from predictor.layout import Layout
from predictor.words import Sharding
from scheduler.cli.describe import constraints_line, job_line, objective_line
from scheduler.cli.wording import ABSENT, columns, duration, gib, percent, probability, span, usd

Json = Mapping[str, Any]

HEADER = (
    "#", "GPU", "N", "LAYOUT", "OFFER", "VRAM p95/usable", "P(fit)", "RUNTIME p50..p90", "$/h", "$/JOB p50..p90",
    "START", "VERDICT",
)  # fmt: skip
RIGHT_ALIGNED = (0, 2, 8)

PARTS = tuple(Breakdown.__dataclass_fields__)

FEASIBLE = frozenset({"chosen", "dearer", "slower", "dominated"})
"""Reasons of candidates that would have done; every other reason rules a candidate out."""

SHOWN_FEASIBLE = 8
SHOWN_REJECTED = 6


def plan_text(decision: Json, *, everything: bool = False) -> str:
    """The whole plan. Without `everything`, the best few and the nearest misses, one of each reason first."""
    shown = decision["candidates"] if everything else _worth_showing(decision["candidates"])
    lines = [*_head(decision), ""]
    if shown:
        rows = [_row(number, candidate) for number, candidate in _numbered(shown)]
        lines += columns(HEADER, rows, right=RIGHT_ALIGNED)
    return "\n".join([*lines, *_foot(decision, len(shown))])


def pareto_text(decision: Json) -> str:
    """The choice between money and time: placements that no other beats in both, the cheapest first."""
    rows = [
        _row(str(number), {**candidate, "reason": "chosen"})[:-1]
        for number, candidate in enumerate(decision["pareto"], 1)
    ]
    table = columns(HEADER[:-1], rows, right=RIGHT_ALIGNED) if rows else ["Nothing would do now."]
    return "\n".join([*_head(decision), "", *table])


def candidate_cell(candidate: Json) -> str:
    """A placement in a few words: `H100-SXM × 2`."""
    return f"{candidate['gpu_type']} × {candidate['gpu_count']}"


def _head(decision: Json) -> list[str]:
    spec = decision["spec"]
    lines = [f"Job        {job_line(spec)}", f"Predictor  {_predictor(decision)}"]
    if memory := _memory(decision):
        lines.append(f"VRAM/GPU   {memory}")
    lines.append(f"Objective  {objective_line(spec)}     Constraints  {constraints_line(spec)}")
    if decision["kind"] == "refusal":
        lines.append(f"Refused    {decision['reason']}")
    elif decision["kind"] == "wait":
        lines.append(f"Waiting    {decision['reason']}")
    return lines


def _predictor(decision: Json) -> str:
    parts = [decision["model_version"]]
    if rows := decision.get("model_observations"):
        parts.append(f"trained on {rows:,} observations")
    domain = decision["in_domain"]
    known = "unknown" if domain is None else "yes" if domain else "no (wider interval)"
    basis = (_first_forecast(decision) or {}).get("basis")
    return ", ".join(parts) + f"; in domain: {known}" + (f"; basis: {basis}" if basis else "")


def _first_forecast(decision: Json) -> Json | None:
    return next((c["forecast"] for c in decision["candidates"] if c["forecast"]), None)


def _memory(decision: Json) -> str:
    forecast = _first_forecast(decision)
    if forecast is None or forecast["peak_vram_gib"]["p50"] is None:
        return ""
    peak = forecast["peak_vram_gib"]
    text = f"p50 {gib(peak['p50'])}  p95 {gib(peak['p95'])} GiB"
    if parts := forecast["vram_breakdown_gib"]:
        # in the order of the contract: a stored forecast has lost its own
        named = [f"{name.replace('_', ' ')} {gib(parts[name])}" for name in PARTS if parts[name] >= 0.05]
        text += f"   ({' + '.join(named)})"
    return text


def _worth_showing(candidates: Sequence[Json]) -> list[Json]:
    feasible = [c for c in candidates if c["reason"] in FEASIBLE][:SHOWN_FEASIBLE]
    misses = [c for c in candidates if c["reason"] not in FEASIBLE]
    first_of = {c["reason"]: place for place, c in reversed(list(enumerate(misses)))}
    firsts = sorted(first_of.values())
    # a second candidate of the same reason is worth a line only if it came near enough to be forecast
    others = [place for place, miss in enumerate(misses) if place not in firsts and miss["forecast"]]
    return feasible + [misses[place] for place in sorted([*firsts, *others][:SHOWN_REJECTED])]


def _numbered(candidates: Iterable[Json]) -> Iterable[tuple[str, Json]]:
    number = 0
    for candidate in candidates:
        feasible = candidate["reason"] in FEASIBLE
        number += feasible
        yield (str(number) if feasible else ABSENT), candidate


def _row(number: str, candidate: Json) -> tuple[str, ...]:
    forecast = candidate["forecast"]
    runtime = forecast["runtime_s"] if forecast else {"p50": None, "p90": None}
    if sharing := candidate.get("sharing"):
        runtime = sharing["use_s"]  # beside the others, from the order to the end
    cost = candidate["cost_usd"] or {"p50": None, "p90": None}
    return (
        number,
        candidate["gpu_type"] + (" spot" if candidate["spot"] else ""),
        str(candidate["gpu_count"]),
        layout_label(candidate["layout"]),
        " ".join(filter(None, (candidate["provider"], candidate["region"]))),
        _vram(forecast),
        probability(candidate["fit_probability"]),
        span(duration(runtime["p50"]), duration(runtime["p90"])),
        usd(candidate["usd_per_hour"]),
        span(usd(cost["p50"]), usd(cost["p90"])),
        _start(candidate),
        verdict(candidate),
    )


def layout_label(layout: Json) -> str:
    """`tp4 dp2 zero3`, or `-` on a single GPU and where none was thought of."""
    return ABSENT if not layout else Layout(**{**layout, "sharding": Sharding(layout["sharding"])}).label()


def _vram(forecast: Json | None) -> str:
    if forecast is None or forecast["peak_vram_gib"]["p95"] is None:
        return ABSENT
    return f"{gib(forecast['peak_vram_gib']['p95'])} / {gib(forecast['usable_vram_gib'])} GiB"


def _start(candidate: Json) -> str:
    if candidate["reason"] not in FEASIBLE:
        return ABSENT
    minutes = round(candidate["provision_s"] / 60)
    return f"+{minutes} min" if minutes else "now"


def verdict(candidate: Json) -> str:
    """The verdict with its number, short for the common ones."""
    reason, number = candidate["reason"], candidate["reason_number"]
    short = _VERDICTS.get(reason) if number is not None or reason == "chosen" else None
    if short is None:
        return f"{reason}: {candidate['reason_text']}"
    sharing = candidate.get("sharing")  # absent from what was decided before cards were shared
    with_whom = "" if sharing is None else f", shares the card of {len(sharing['with_jobs'])}"
    return short.format(number=number, percent=percent(number or 0)) + with_whom


_VERDICTS = {
    "chosen": "CHOSEN",
    "dearer": "{percent} cost",
    "slower": "{percent} time",
    "vram": "vram: short by {number:.1f} GiB",
}


def _foot(decision: Json, shown: int) -> list[str]:
    lines = []
    lines += _suggestions(decision)
    if rejected := decision["rejected_by_reason"]:
        by_number = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
        lines.append("Not chosen: " + ", ".join(f"{reason} {number:,}" for reason, number in by_number) + ".")
    said = []
    if fallback := decision.get("if_out_of_memory"):
        budget = "within budget" if fallback["within_budget"] else "over budget"
        said.append(f"If it runs out of memory: {candidate_cell(fallback)} ({budget}).")
    if prices := _price_dates(decision):
        said.append(prices)
    said.append(f"Shown {shown:,} of {decision['candidates_considered']:,} candidates.")
    if decision.get("job_id") is None:
        said.append("Nothing was reserved.")
    return [*lines, " ".join(said)]


def _suggestions(decision: Json) -> list[str]:
    """What to change of the job, one line each; of a refused job, what would make it possible."""
    lines = []
    for place, one in enumerate(decision.get("suggestions") or ()):
        figures = f"{candidate_cell(one)}{' spot' if one['spot'] else ''}, ${usd(one['expected_cost_usd'])}"
        if one["saving_percent"] is not None:
            figures += f" ({percent(-one['saving_percent'])}), runtime {percent(one['longer_percent'])}"
        title = "Possible" if one["saving_percent"] is None else "Cheaper"
        title += " if you change the job: "
        lines.append(f"{title if place == 0 else ' ' * len(title)}{one['text']} → {figures}")
    return lines


def _price_dates(decision: Json) -> str:
    """The day of the chosen offer's price, and how old the others that are listed may be."""
    priced = [candidate for candidate in decision["candidates"] if candidate["cost_usd"]]
    if not priced:
        return ""
    of_first, oldest = priced[0]["price_date"], min(candidate["price_date"] for candidate in priced)
    return f"Prices of {of_first}" + (f" (the oldest listed: {oldest})." if oldest < of_first else ".")


def naive_line(decision: Json) -> str:
    """What the lowest price per hour would have cost, if there was such a choice."""
    choice, cost = decision["naive_choice"], decision["naive_cost_usd"]
    if choice is None or cost is None:
        return ""
    return f"{candidate_cell(choice)} at ${usd(Decimal(cost))}"
