"""A forecast with its reasons as a person reads it: parts, what was learned on top, and the nearest known jobs.

A pure function of the JSON that `pythia predict --explain --json` and `POST /v1/predictions?explain=true` give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scheduler.cli.plan_table import layout_label
from scheduler.cli.wording import ABSENT, count, duration, gib, probability

Json = Mapping[str, Any]

_MARGIN = " " * 11
_LEAST_SHARE = 0.005
"""A smaller part than half a percent is left out of a sum."""


def explanation_text(question: Json, answer: Json) -> str:
    """One forecast and why; `question` is what was asked, for its heading."""
    lines = [_heading(question, answer), f"Predictor  {_predictor(answer)}"]
    why = answer["explanation"]
    if "custom" in why:
        lines += _custom(why["custom"], answer)
    else:
        lines += [*_memory(why["memory"], answer), *_time(why["time"], answer)]
        lines += _nearest("memory", why["memory"]) + _nearest("time", why["time"])
    if answer["assumptions"]:
        lines.append(f"Assumed    {'; '.join(answer['assumptions'])}")
    return "\n".join(lines)


def refusal_text(answer: Json) -> str:
    """A question that has no forecast."""
    return f"{_id(answer)}error: {answer['error']}"


def _id(answer: Json) -> str:
    return "" if answer.get("id") is None else f"{answer['id']}  "


def _heading(question: Json, answer: Json) -> str:
    workload = question["workload"]
    model = workload.get("model") or workload.get("kind")
    what = model if isinstance(model, str) else "given architecture"
    layout, gpus = layout_label(answer["layout"]), answer["layout"]["gpu_count"]
    place = f"{answer['gpu_type']} × {gpus}" + (f" ({layout})" if layout != ABSENT else "")
    return f"{_id(answer)}{workload['type']} of {what} on {place}"


def _predictor(answer: Json) -> str:
    known = "yes" if answer["in_domain"] else "no (wider interval)"
    return f"{answer['model_version']}; basis: {answer['basis']}; in domain: {known}"


def _memory(why: Json, answer: Json) -> list[str]:
    total = why["arithmetic_gib"]
    peak = answer["peak_vram_gib"]
    usable = answer["usable_vram_gib"]
    of = "" if usable is None else f" of {gib(usable)} usable, P(fit) {probability(answer['fit_probability'])}"
    limited = "; limited by the card, which it would fill" if why["limited_by_card"] else ""
    return [
        f"VRAM/GPU   arithmetic {gib(total)} GiB = {_sum(why['parts_gib'], total, lambda value: f'{value:.1f}')}",
        *_learned(why["learned"]),
        f"{_MARGIN}p50 {gib(peak['p50'])}  p95 {gib(peak['p95'])} GiB{of}{limited}",
    ]


def _time(why: Json, answer: Json) -> list[str]:
    total = why["arithmetic_s"]
    lines = [f"Time       arithmetic {seconds(total)} a {why['of']} = {_sum(why['parts_s'], total, seconds)}"]
    lines.append(f"{_MARGIN}bottleneck: {_words(why['bottleneck'])}")
    for name, phase in why["phases"].items():
        if phase["seconds"] > 0:
            parts = _sum(phase["parts_s"], phase["seconds"], seconds)
            lines.append(f"{_MARGIN}{name} {seconds(phase['seconds'])} = {parts}; {_words(phase['bottleneck'])}-bound")
    lines += _learned(why["learned"])
    lines.append(f"{_MARGIN}p10 {seconds(why['p10_s'])}  p50 {seconds(why['p50_s'])}  p90 {seconds(why['p90_s'])}")
    if why["of"] == "step":
        run = answer["runtime_s"]
        lines[-1] += f" a step; {duration(run['p10'])} .. {duration(run['p50'])} .. {duration(run['p90'])} in all"
    return lines


def _learned(learned: Json) -> list[str]:
    if learned["distance"] is None and learned["site"] is None:
        return [f"{_MARGIN}nothing was learned about this: the arithmetic stands"]
    factors = [
        f"{name} {layer['factor']:.3f} (says {layer['told']:.3f}, trusted {layer['trust']:.0%})"
        for name in ("habits", "particulars")
        if (layer := learned[name]) is not None
    ]
    if learned["site"] is not None:
        factors.append(f"this site {learned['site']:.3f}")
    interval = f"interval × {learned['spread']:.2f}"
    if learned["beyond"]:
        sizes = ", ".join(f"{size} × {factor:.3g}" for size, factor in learned["beyond"].items())
        interval += f"; above the largest seen: {sizes}"
    return [f"{_MARGIN}learned × {learned['factor']:.3f} = {' × '.join(factors)}; {interval}"]


def _nearest(quantity: str, why: Json) -> list[str]:
    if not why["nearest"]:
        return []
    reach = why["learned"]["reach"]
    lines = [f"Nearest known jobs by {quantity} (in domain up to {reach:.2g})"]
    if why["nearest"][0]["id"] is None:
        lines[0] += "; their ids are not known: the bundle is older than they"
    for one in why["nearest"]:
        differs = "; ".join(
            f"{part['feature']} {_value(part['asked'])}, there {_value(part['known'])} ({part['apart']:.2g})"
            for part in one["differs"]
        )
        lines.append(f"  {one['id'] or '?'}  {one['distance']:.3g} away: {differs or 'differs in sizes alone'}")
    return lines


def _custom(why: Json, answer: Json) -> list[str]:
    begins = [
        f"{duration(why['stated_runtime_s'])} by its user" if why["stated_runtime_s"] is not None else "",
        f"{gib(why['stated_vram_gib'])} GiB by its user" if why["stated_vram_gib"] is not None else "",
        f"{why['trained_on']:,} jobs of the kind in the training data" if why["trained_on"] else "",
    ]
    run, peak = answer["runtime_s"], answer["peak_vram_gib"]
    lines = [
        f"Begins at  {', '.join(filter(None, begins)) or 'nothing said'}",
        f"Corrected  by {why['past_jobs']:,} past jobs of the kind",
        f"Time       p10 {duration(run['p10'])}  p50 {duration(run['p50'])}  p90 {duration(run['p90'])}",
    ]
    if peak["p50"] is not None:
        lines.append(f"VRAM/GPU   p50 {gib(peak['p50'])}  p95 {gib(peak['p95'])} GiB")
    return lines


def _sum(parts: Json, total: float, write: Callable[[float], str]) -> str:
    named = [
        f"{_words(name)} {write(value)} ({value / total:.0%})"
        for name, value in parts.items()
        if value > _LEAST_SHARE * total
    ]
    return " + ".join(named)


def _words(name: str) -> str:
    return name.replace("_", " ")


def seconds(value: float) -> str:
    """A short time with three digits, a long one as people say it."""
    return f"{value:.3g}s" if value < 10 else duration(value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return count(value) if value >= 1e6 else f"{value:.4g}"
    return str(value)
