"""The common claims of the page on economics: what it prints is what its commands print today.

A new predictor or price list moves these figures; the page then has to be written anew, and the test says which rows.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from scheduler.cli.economics_offline import answer_offline
from scheduler.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "economics.md").read_text(encoding="utf-8")
SAID = re.sub(r"\s+", " ", PAGE)
MODEL = "meta-llama/Llama-3.1-70B-Instruct"
SHAPES = ((200, 2000), (1000, 1000), (3150, 400))
MODELS = re.findall(r"\| `([^`]+)` \| \d+ \|", PAGE)
H100, B200 = "H100-SXM", "B200"


def best(read: int, written: int, *cards: str, precision: str = "fp8", **more: Any) -> dict[str, dict[str, Any]]:
    """What `pythia economics tokens` says of the best offer of each card."""
    asked = {
        "model": MODEL, "precision": precision, "input_length": read, "output_length": written,
        "constraints": {"gpu_types": list(cards)}, **more,
    }  # fmt: skip
    return {one["gpu_type"]: one for one in answer_offline("tokens", asked)["best_of_each_gpu_type"]}


def mid(cost: Mapping[str, Any], of: str) -> Decimal:
    return Decimal(cost[f"{of}_usd_per_mtok"]["mid"])


def dearer(cost: Mapping[str, Any]) -> float:
    """An output token over an input token."""
    return float(mid(cost, "output") / mid(cost, "input"))


def per_cent(share: float) -> str:
    return f"{100 * share:.0f} %"


def test_output_tokens_over_input_tokens() -> None:
    for read, written in SHAPES:
        found = best(read, written)
        row = " | ".join(f"{dearer(found[card]):.1f}" for card in (H100, "H200-SXM", B200))
        assert f"| `--input {read} --output {written}` | {row} |" in PAGE
    found = best(1000, 1000, max_tpot_s=0.05)
    h100, l40s = found["H100-NVL"], found["L40S"]
    assert (h100["gpu_count"], l40s["gpu_count"]) == (2, 8)
    assert f"two H100-NVL come to {dearer(h100):.0f} and eight L40S to {dearer(l40s):.0f}" in SAID


def test_list_prices_of_output_over_input() -> None:
    with (ROOT / "datasets" / "api_token_prices_2026_11.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ratios = [Decimal(row["output_usd_per_mtok"]) / Decimal(row["input_usd_per_mtok"]) for row in rows]
    between = sum(3 <= one <= 10 for one in ratios) / len(ratios)
    below = sum(one < 3 for one in ratios) / len(ratios)
    assert (
        f"of the {len(ratios)} prices of `datasets/api_token_prices_2026_11.csv` {per_cent(between)} are between 3 and "
        f"10, {per_cent(below)} below 3; the median is {median(ratios):.2g}" in SAID
    )


@pytest.mark.parametrize("model", MODELS)
def test_break_even_use(model: str) -> None:
    asked = {"model": model, "precision": "fp8", "input_length": 3150, "output_length": 400}
    crossings = answer_offline("crossover", asked)["crossings"]
    use = [one["lowest_utilisation"]["utilisation"] for one in crossings]
    row = re.search(rf"\| `{model}` \| (\d+) \| (\d+ %)(: never[^|]*)? \| (\d+ %) \| (\d+ %) \|", PAGE)
    assert row is not None
    never = crossings[0]["crossing"] is None
    printed = (row[1], row[2], row[3] is not None, row[4], row[5])
    assert printed == (str(len(use)), per_cent(max(use)), never, per_cent(median(use)), per_cent(min(use)))


def test_what_the_table_of_break_even_use_says() -> None:
    rows = re.findall(r"\| `[^`]+` \| \d+ \| (\d+) %[^|]*\| (\d+) % \| \d+ % \|", PAGE)
    assert len(rows) == len(MODELS)
    cheapest, middle = ([int(one) for one in column] for column in zip(*rows, strict=True))
    within = sum(15 <= one <= 25 for one in middle)
    assert (
        f"it is {min(middle)} to {max(middle)} %, and within 15 to 25 % for {within} of the {len(rows)} models" in SAID
    )
    assert f"where one would go first, it is {min(cheapest)} to {max(cheapest)} %" in SAID


def test_b200_against_h100() -> None:
    def times(read: int, written: int, precision: str, **more: Any) -> float:
        found = best(read, written, H100, B200, precision=precision, **more)
        assert (found[B200]["precision"], found[H100]["precision"]) == (precision, "fp8")
        return float(mid(found[H100], "blended") / mid(found[B200], "blended"))

    for name, precision in (("FP8 on both", "fp8"), ("FP4 on the B200", "fp4")):
        row = " | ".join(f"{times(*shape, precision):.1f}" for shape in SHAPES)
        assert f"| {name} | {row} |" in PAGE
    assert f"`--tpot 0.05` brings FP8 at 1000 + 1000 to {times(1000, 1000, 'fp8', max_tpot_s=0.05):.1f}." in SAID


def test_two_l40s(capfd: pytest.CaptureFixture[str]) -> None:
    name = "docs/examples/70b-on-two-l40s.jsonl"
    assert f"`pythia predict {name}`" in SAID
    assert main(["predict", str(ROOT / name), "--json"]) == 0
    short, middle, long = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    weights, usable = short["vram_breakdown_gib"]["weights"], short["usable_vram_gib"]
    assert f"{weights:.1f} GiB of weights on each card of {usable:.1f} GiB usable" in SAID
    assert f"a p50 of {middle['peak_vram_gib']['p50']:.1f} GiB at 16,384 tokens" in SAID
    assert (
        f"P(fit) is {short['fit_probability']:.2f} at 1,000 tokens, {middle['fit_probability']:.2f} at 16,384 and "
        f"{long['fit_probability']:.2f} at 49,152" in SAID
    )
    # what is left at 49,152, and what a token takes, say how many there is room for
    each = (long["peak_vram_gib"]["p50"] - middle["peak_vram_gib"]["p50"]) / (49_152 - 16_384)
    room = 49_152 + (long["usable_vram_gib"] - long["peak_vram_gib"]["p50"]) / each
    assert f"room for some {1000 * (room // 1000):,.0f} tokens" in SAID


def test_what_caching_saves() -> None:
    costs = {}
    for shared, words in (
        (0, "nothing"),
        (500, "the system prompt (500)"),
        (3000, "system prompt and retrieved text (3,000)"),
    ):
        one = costs[shared] = best(3150, 400, H100, cached_prefix_length=shared)[H100]
        saved = 1 - mid(one, "blended") / mid(costs[0], "blended")
        end = "|" if shared == 0 else f"{per_cent(float(saved))} |"
        assert f"| {words} | {per_cent(one['prefill_share'])} | {mid(one, 'blended'):.3f} | {end}" in PAGE
    share = 10_000 / 86_400 / costs[0]["requests_per_second"]["p50"]
    assert 0.01 < share < 0.02
    assert "less than 2 % of what those eight H100s serve" in SAID
    assert costs[0]["gpu_count"] == 8
