"""A report holds every section, as a page and as JSON, and what it says of each row can be checked by hand.

The world is small and its trees are few: what a report holds is tested here, not how good the forecasts are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest

import predictor.evaluation.report as reporting
from predictor.evaluation import scores
from predictor.evaluation.ablations import AS_SHIPPED, MOST_CONFIGURATIONS, VARIANTS, thinned, variants_for
from predictor.evaluation.coverage import fit_reliability, levels
from predictor.evaluation.judged import Judged
from predictor.evaluation.learning_curve import learning_curve
from predictor.evaluation.page import page
from predictor.evaluation.pictures import pictures
from predictor.evaluation.report import Report, make_report
from predictor.evaluation.scores import SIZES_GIB, configuration_errors
from predictor.evaluation.worst import SHOWN, readings_of, worst_rows
from predictor.features import Task
from predictor.gather import Floats
from predictor.learned import growing, held_out, misses
from predictor.learned.boosting import Boosting
from predictor.learned.folds import GROUPINGS
from predictor.learned.samples import samples
from tests.predictor.observations import invented_world

WORLD = invented_world(rows=160)

SECTIONS = ("errors", "slices", "scatter", "calibration", "reliability", "learning_curve", "ablations", "worst")


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    few = Boosting(trees=12, leaves=4, learning_rate=0.2, min_rows=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing, "SETTINGS", {task: growing.Settings(habits=few, particulars=few) for task in Task})
        patch.setattr(held_out, "_FOLDS", dict.fromkeys(GROUPINGS, 2))
        patch.setattr(misses, "_SPREAD", replace(few, min_rows=20))
        patch.setitem(scores.FOLDS, "configuration", 2)
        patch.setattr(reporting, "learning_curve", partial(learning_curve, counts=(0, 3), draws=2))
        yield make_report(WORLD, seed=7, created="2026-01-01", git_revision="abc", groupings=("configuration", "site"))


@pytest.fixture(scope="module")
def drawn(report: Report) -> dict[str, str]:
    pytest.importorskip("matplotlib")
    return pictures(report)


def test_the_json_keeps_its_fields(report: Report) -> None:
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert list(found) == [
        "schema", "seed", "created", "git_revision", "sources", "scores", "slices", "levels", "fit_reliability",
        "learning_curve", "ablations", "worst", "forecasts",
    ]  # fmt: skip
    assert found["schema"] == 1
    assert set(found["slices"][0]) == {
        "task", "grouping", "by", "name", "configurations", "learned", "arithmetic", "worst_tenth", "covered",
    }  # fmt: skip
    assert set(found["levels"][0]) == {"task", "grouping", "level", "below", "rows"}
    assert set(found["fit_reliability"][0]) == {"task", "grouping", "on", "low", "high", "said", "fitted", "cases"}
    assert set(found["ablations"][0]) == {
        "task", "grouping", "variant", "says", "configurations", "error", "source_mean", "covered", "pinball",
        "over_provision", "out_of_memory_flagged", "out_of_memory", "error_p", "pinball_p",
    }  # fmt: skip
    assert set(found["worst"][0]) == {
        "task", "grouping", "place", "id", "source", "family", "gpu_type", "job", "unit", "measured", "p50", "low",
        "high", "arithmetic", "ratio", "distance", "features",
    }  # fmt: skip
    assert len({len(column) for column in found["forecasts"][0].values() if isinstance(column, list)}) == 1


class _Sections(HTMLParser):
    """Which sections a page has, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self.names.append(dict(attrs)["id"] or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_has_every_section_and_closes_what_it_opens(report: Report) -> None:
    found = _Sections()
    found.feed(page(report, {}))
    assert tuple(found.names) == SECTIONS
    assert found.open == []


def test_the_page_needs_nothing_beside_it(report: Report, drawn: dict[str, str]) -> None:
    text = page(report, drawn)
    links = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', text))
    assert not {link for link in links if not link.startswith("data:")}
    assert "<script" not in text
    assert "@import" not in text


def test_pictures_are_drawn_with_their_units(drawn: dict[str, str]) -> None:
    assert set(drawn) == {"errors", "scatter", "calibration", "reliability", "learning_curve", "ablations"}
    assert all(svg.startswith("<svg") for svg in drawn.values())
    assert "measured (GiB)" in drawn["scatter"]
    assert "measured (s per step)" in drawn["scatter"]
    assert "median error (%)" in drawn["errors"]


def test_equal_figures_give_equal_pictures(report: Report, drawn: dict[str, str]) -> None:
    errors_alone = replace(report, judged=(), levels=(), reliability=(), curve=(), ablations=())
    assert pictures(errors_alone) == {"errors": drawn["errors"]}


def test_what_was_left_out_is_said(report: Report) -> None:
    short = replace(report, curve=(), ablations=())
    assert page(short, {}).count("Left out of this evaluation.") == 3  # the scatter has nothing but its picture


def test_a_source_cannot_write_into_the_page(report: Report) -> None:
    hostile = replace(report, sources={"<script>alert(1)</script>": 3}, worst=(replace(report.worst[0], id="<b>&"),))
    text = page(hostile, {})
    assert "<script>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_the_worst_rows_come_worst_first_one_of_each_configuration(report: Report) -> None:
    for task in Task:
        rows = [row for row in report.worst if row.task is task]
        off = [abs(np.log(row.ratio)) for row in rows]
        # ratios are rounded to four digits
        assert off == pytest.approx(sorted(off, reverse=True), abs=1e-3)
        assert [row.place for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) <= SHOWN
        assert all(set(row.features) == set(task.features.names) for row in rows)
    judged = next(one for one in report.judged if one.grouping == "configuration")
    shown = [row for row in report.worst if row.task is judged.task]
    missed = np.abs(judged.said.p50 - judged.found.measured)[judged.done]
    assert abs(np.log(shown[0].ratio)) == pytest.approx(missed.max(), abs=1e-3)


def test_fewer_rows_may_be_asked_for(report: Report) -> None:
    judged = report.judged[0]
    assert [row.place for row in worst_rows(judged, readings_of(WORLD), shown=3)] == [1, 2, 3]


def test_every_reading_of_a_run_can_be_among_the_worst(report: Report) -> None:
    judged = next(one for one in report.judged if one.task is Task.TRAINING_MEMORY)
    place = int(np.flatnonzero(judged.done)[0])
    run = next(one for one in WORLD if one.id == judged.found.ids[place])
    peak = run.peak_vram_gib
    twin = replace(run, source="elsewhere")  # which calls its rows the same
    seen = readings_of([replace(run, peak_allocated_gib=peak, peak_reserved_gib=peak), twin])
    for mark, metric in (("", "driver"), ("#allocated", "allocated"), ("#reserved", "reserved")):
        ids = judged.found.ids.astype("<U40")
        ids[place] = run.id + mark
        others = np.arange(len(ids)) != place
        (row,) = worst_rows(replace(judged, found=replace(judged.found, ids=ids, lower_bound=others)), seen)
        assert row.id == run.id + mark
        assert f", {metric}" in row.job


def test_slices_are_the_errors_of_their_rows(report: Report) -> None:
    part = next(one for one in report.slices if one.by == "gpu_type" and one.task is Task.TRAINING_TIME)
    judged = next(one for one in report.judged if (one.task, one.grouping) == (part.task, part.grouping))
    mine = judged.done & (judged.found.gpu_type == part.name)
    errors = configuration_errors(judged.configuration[mine], judged.said.p50[mine], judged.found.measured[mine])
    assert part.configurations == len(errors)
    assert part.learned == pytest.approx(np.median(errors))


def with_rank(report: Report, rank: Floats) -> Judged:
    judged = next(one for one in report.judged if one.task is Task.INFERENCE_TIME)
    return replace(judged, said=replace(judged.said, rank=rank))


def test_evenly_spread_ranks_lie_on_the_diagonal_and_crowded_ones_do_not(report: Report) -> None:
    rows = len(next(one for one in report.judged if one.task is Task.INFERENCE_TIME).found)
    even = (np.arange(rows) + 0.5) / rows
    for level in levels(with_rank(report, even)):
        assert level.below == pytest.approx(level.level, abs=1.0 / rows)
    too_low = levels(with_rank(report, np.ones(rows)))
    assert all(level.below == 0.0 for level in too_low)


def test_reliability_counts_what_fitted_of_what_was_said_to(report: Report) -> None:
    judged = next(one for one in report.judged if one.task is Task.TRAINING_MEMORY)
    assert judged.found.lower_bound.any()
    said = np.where(judged.done, 0.99, 0.3)
    sure = replace(judged, said=replace(judged.said, fit=said, fit_sizes=np.ones_like(judged.said.fit_sizes)))
    own = [one for one in fit_reliability(sure) if one.on == "own card"]
    assert [one.said for one in own] == pytest.approx([0.3, 0.99])
    assert [one.fitted for one in own] == [0.0, 1.0]
    assert sum(one.cases for one in own) == len(judged.found)
    (every,) = (one for one in fit_reliability(sure) if one.on == "every size")
    peaks = np.exp(judged.found.measured[judged.counted])
    assert every.fitted == pytest.approx(np.mean([peaks <= size for size in SIZES_GIB]))


def test_every_switch_of_the_training_changes_what_is_forecast(report: Report) -> None:
    """A switch that is not connected would make its ablation say that nothing is worth anything."""
    by_variant: dict[str, set[tuple[float, float]]] = {}
    for one in report.ablations:
        by_variant.setdefault(one.variant, set()).add((one.error, one.pinball))
    assert list(by_variant) == [variant.name for variant in VARIANTS]
    for variant, figures in by_variant.items():
        assert variant == AS_SHIPPED or figures - by_variant[AS_SHIPPED], variant


def test_what_ships_is_no_better_than_itself(report: Report) -> None:
    shipped = [one for one in report.ablations if one.variant == AS_SHIPPED]
    assert shipped
    assert all(one.error_p == 1.0 and one.pinball_p == 1.0 for one in shipped)


def test_arithmetic_alone_is_the_arithmetic_of_the_scores(report: Report) -> None:
    for score in report.scores:
        for one in report.ablations:
            if (one.variant, one.task, one.grouping) == ("arithmetic alone", score.task, score.grouping):
                assert one.error == pytest.approx(score.overall.arithmetic)
    assert len({one.task for one in report.ablations if one.variant == "arithmetic alone"}) == 3


def test_bounds_are_questioned_only_where_there_are_any() -> None:
    memory, time = (samples(task, WORLD) for task in (Task.TRAINING_MEMORY, Task.TRAINING_TIME))
    assert len(variants_for(memory)) == len(VARIANTS)
    assert not [variant for variant in variants_for(time) if variant.bounds_only]


def test_thinning_keeps_whole_configurations_and_every_bound() -> None:
    found = samples(Task.TRAINING_MEMORY, WORLD)
    assert thinned(found, MOST_CONFIGURATIONS) is found
    some = thinned(found, 10)
    assert len(set(some.configuration[~some.lower_bound].tolist())) <= 10
    assert some.lower_bound.sum() == found.lower_bound.sum()
    for name in set(some.configuration[~some.lower_bound].tolist()):
        assert (some.configuration == name).sum() == (found.configuration == name).sum()
