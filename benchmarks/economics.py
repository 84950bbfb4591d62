"""`make bench-economics`: dollars per million tokens against measured runs, on configurations held out from training.

A configuration is one job of inference that somebody timed; its tokens cost what its time does at the median price of
its card. Two figures: how far that is off, and how often two cards are ranked as measured. Needs
PYTHIA_OBSERVATIONS_DIR; the predictors are kept between runs (`--cache DIR`). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from tempfile import gettempdir

from predictor.architectures.catalogue import load_models
from predictor.hardware import load_gpu_types
from predictor.model import Predictor
from predictor.telemetry import Observation
from predictor.telemetry_files import read_telemetry
from predictor.workload import InferenceWorkload
from scheduler.replay.held_out import hold_out
from scheduler.replay.measured import group_of
from scheduler.services.seed import shipped_offers

SEED = 7
SOURCES = ("aic_silicon", "inferencemax", "trtllm", "mlperf_v41", "mlperf_v51")
"""Served and offline runs on current cards; the others time static batches of engines of 2023 and 2024."""
APART = 1.2
"""Ratio of cost from which two cards count as different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration on one card and layout: dollars per million tokens."""

    group: str
    source: str
    gpu_type: str
    measured: float
    forecast: float


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cache", type=Path, default=Path(gettempdir()) / "pythia-bench-economics")
    cache = asked.parse_args().cache
    folder = os.environ.get("PYTHIA_OBSERVATIONS_DIR")
    if not folder:
        print("Set PYTHIA_OBSERVATIONS_DIR to a folder of observations to run this benchmark.", file=sys.stderr)
        return 2
    observations = read_telemetry(Path(folder), load_models(), load_gpu_types()).observations
    held = hold_out(observations, group_of, seed=SEED, keep_in=cache, say=lambda said: print(said, flush=True))
    predictors = {id(bundle): Predictor(bundle) for bundle in held.bundle_of.values()}
    cells = price(observations, {group: predictors[id(bundle)] for group, bundle in held.bundle_of.items()})
    rights, pairs = ranking(cells)
    by_source = {source: errors(cells, source) for source in SOURCES}
    print(f"{'SOURCE':16}{'CELLS':>8}{'MEDIAN ERROR':>16}")
    for source, (count, error) in by_source.items():
        print(f"{source:16}{count:>8,}{100 * error:>14.1f} %")
    every = median(abs(cell.forecast / cell.measured - 1.0) for cell in cells)
    print(
        f"all: {len(cells):,} cells, median error {100 * every:.1f} %; {rights:,} of {pairs:,} pairs of cards ranked as"
    )
    print(f"measured ({100 * rights / pairs:.1f} % of those that differ by more than {100 * (APART - 1):.0f} %)")
    figures = {
        "cells": len(cells), "median_error": round(every, 4), "pairs": pairs, "ranked_right": round(rights / pairs, 4),
        "by_source": {source: round(error, 4) for source, (_, error) in by_source.items()}, "seed": SEED,
    }  # fmt: skip
    print(json.dumps(figures))
    return 0


def price(observations: Sequence[Observation], predictor_of: Mapping[str, Predictor]) -> list[Cell]:
    """Dollars per million tokens, input and output, of every cell; repeats of a run as their median."""
    usd_per_s = gpu_second_prices()
    runs: dict[tuple[str, str, str, object], list[Observation]] = {}
    for one in observations:
        gpu = one.question.gpu.name
        if one.source in SOURCES and one.runtime_s is not None and gpu in usd_per_s:
            runs.setdefault((group_of(one), one.source, gpu, one.question.layout), []).append(one)
    by_predictor: dict[Predictor, list[tuple[str, str, str, object]]] = {}
    for key in runs:
        by_predictor.setdefault(predictor_of[key[0]], []).append(key)
    cells: list[Cell] = []
    for predictor, keys in by_predictor.items():
        forecasts = predictor.forecast([runs[key][0].question for key in keys])
        for key, forecast in zip(keys, forecasts, strict=True):
            first = runs[key][0].question
            work = first.workload
            assert isinstance(work, InferenceWorkload)
            assert forecast.runtime_s is not None
            tokens = work.num_requests * (work.input_length + work.output_length)
            each = usd_per_s[key[2]] * first.layout.gpu_count * 1e6 / tokens
            took = median(one.runtime_s or 0.0 for one in runs[key])
            cells.append(
                Cell(
                    group=key[0], source=key[1], gpu_type=key[2], measured=took * each,
                    forecast=forecast.runtime_s.p50 * each,
                )
            )  # fmt: skip
    return cells


def gpu_second_prices() -> dict[str, float]:
    """The median price on demand of a GPU-second, by type, in the price list that ships; dollars."""
    prices: dict[str, list[int]] = {}
    for offer in shipped_offers():
        if offer.on_demand_micros_per_gpu_hour:
            prices.setdefault(offer.gpu_type, []).append(offer.on_demand_micros_per_gpu_hour)
    return {name: median(found) / 3600e6 for name, found in prices.items()}


def errors(cells: Sequence[Cell], source: str) -> tuple[int, float]:
    """How many cells a source has, and their median error."""
    mine = [abs(cell.forecast / cell.measured - 1.0) for cell in cells if cell.source == source]
    return len(mine), median(mine) if mine else 0.0


def ranking(cells: Sequence[Cell]) -> tuple[int, int]:
    """Pairs of GPU types of one configuration and source that are ranked as measured, and all that differ.

    Each type by its cheapest layout, as measured and as forecast.
    """
    best: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for cell in cells:
        known = best.setdefault((cell.group, cell.source), {})
        measured, forecast = known.get(cell.gpu_type, (cell.measured, cell.forecast))
        known[cell.gpu_type] = min(measured, cell.measured), min(forecast, cell.forecast)
    rights = pairs = 0
    for cards in best.values():
        for (measured, forecast), (others, otherwise) in combinations(cards.values(), 2):
            if max(measured, others) > APART * min(measured, others):
                pairs += 1
                rights += (measured < others) == (forecast < otherwise)
    return rights, pairs


if __name__ == "__main__":
    sys.exit(main())
