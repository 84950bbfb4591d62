"""A modelled world is what its trace says, with draws that follow the predictor's residuals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predictor.architectures.catalogue import load_models
from predictor.calibration import LEVELS
from predictor.quantiles import TIME_MARGIN
from scheduler.replay.errors import InvalidReplay
from scheduler.replay.mix import read_mix
from scheduler.replay.modelled import DEADLINES
from scheduler.replay.residuals import Residuals
from tests.scheduler.replay.worlds import make_trace, modelled, random_trace
from tests.support.offers import make_offer


def test_the_shipped_mix_is_readable_and_its_names_are_its_own() -> None:
    mix = read_mix(load_models())
    assert len({part.name for part in mix}) == len(mix) >= 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {share: 0, name: a, workload: {type: custom, kind: x}}", "share"),
        ("- {share: 1, name: a, workload: {type: custom, kind: x}}", "a is custom work"),
        ("[]", "holds no workload"),
        ("[", "cannot be read"),
    ],
)
def test_a_mix_that_cannot_be_drawn_from_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidReplay, match=said):
        read_mix(load_models(), path)


def test_the_reference_card_gives_the_traces_own_durations() -> None:
    trace = random_trace(2, 120)
    world = modelled(trace)
    for job in range(len(trace)):
        one = world.classes[int(world.jobs.kind[job])]
        rows = one.usual[int(world.jobs.usual_count[job])]
        row = int(rows[world.market.cheapest(one.menu.terms[rows].tolist())])
        assert world.run_s(int(world.jobs.kind[job]), job, row) == pytest.approx(trace.duration_s[job])


def test_one_job_at_a_time_and_many_at_once_have_the_same_truth() -> None:
    world = modelled(random_trace(6, 40))
    for kind in set(world.jobs.kind.tolist()):
        jobs = np.flatnonzero(world.jobs.kind == kind)
        rows = np.arange(len(world.classes[kind].menu))
        runs, fits = world.runs_s(kind, jobs, rows), world.fits(kind, jobs, rows)
        for at, job in enumerate(jobs.tolist()):
            for row in rows.tolist()[::7]:
                assert world.run_s(kind, job, row) == pytest.approx(float(runs[at, row]))
                assert world.holds(kind, job, row) == bool(fits[at, row])


def test_deadlines_are_drawn_from_their_range_and_every_job_fits_somewhere() -> None:
    world = modelled(random_trace(8, 400))
    jobs = world.jobs
    for job in range(len(jobs)):
        one = world.classes[int(jobs.kind[job])]
        rows = one.usual[int(jobs.usual_count[job])]
        row = int(rows[world.market.cheapest(one.menu.terms[rows].tolist())])
        use = one.menu.provision_s[row] + one.menu.startup_s[row] + world.run_s(int(jobs.kind[job]), job, row)
        assert DEADLINES[0] <= (jobs.deadline_s[job] - jobs.submit_s[job]) / use * (1 + 1e-9)
        assert (jobs.deadline_s[job] - jobs.submit_s[job]) / use * (1 - 1e-9) <= DEADLINES[1]
        assert (jobs.need_level[job] <= one.truth.fit).any()


def test_more_gpus_than_are_sold_become_the_most_that_are() -> None:
    world = modelled(make_trace([(0.0, 500, 60.0), (1.0, 3, 60.0)]))
    assert world.jobs.usual_count.tolist() == [8, 4]
    assert any("1 jobs asked for more GPUs" in note for note in world.notes)


def test_a_reference_that_nobody_sells_is_refused() -> None:
    with pytest.raises(InvalidReplay, match="no offer sells A100-80GB on demand"):
        modelled(make_trace([(0.0, 1, 60.0)]), offers=[make_offer("H100-SXM", 2.0)])


def test_draws_meet_the_forecasts_quantiles_and_go_on_beyond_them() -> None:
    residuals = Residuals(
        shape=np.interp(LEVELS, LEVELS, TIME_MARGIN.table[0]) / np.interp(0.9, LEVELS, TIME_MARGIN.table[0]),
        above=np.array([0.5]), below=np.array([0.2]),
    )  # fmt: skip
    assert residuals.factor(0, 0.5) == pytest.approx(1.0)
    assert residuals.factor(0, 0.9) == pytest.approx(np.exp(0.5))
    assert residuals.factor(0, 0.1) == pytest.approx(np.exp(-0.2))
    assert residuals.factor(0, 0.999) > residuals.factor(0, 0.95)
    levels = np.linspace(0.0, 1.0, 101)
    at_once = residuals.factors(np.array([0]), levels[:, None], np.array([0]))[:, 0]
    assert at_once.tolist() == pytest.approx([residuals.factor(0, level) for level in levels.tolist()])
    assert (np.diff(at_once) >= 0).all()


def test_no_draw_is_further_than_training_would_believe() -> None:
    residuals = Residuals(shape=np.linspace(-9.0, 9.0, len(LEVELS)), above=np.array([5.0]), below=np.array([5.0]))
    assert residuals.factor(0, 1.0) == pytest.approx(30.0)
    assert residuals.factor(0, 0.0) == pytest.approx(1 / 30.0)
