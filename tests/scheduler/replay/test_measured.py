"""A measured replay chooses among measured cells, with a predictor that has not seen them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictor.bundle import Bundle
from predictor.hardware import load_gpu_types
from predictor.telemetry import Observation
from predictor.training import train
from scheduler.replay.errors import InvalidReplay
from scheduler.replay.figures import timeline
from scheduler.replay.held_out import hold_out
from scheduler.replay.market import Market
from scheduler.replay.measured import MeasuredWorlds, build_measured, configurations, family_of, group_of
from scheduler.replay.policies import ORACLE, POLICIES, USER
from scheduler.replay.simulate import replay
from tests.predictor.observations import invented_world, observe
from tests.scheduler.replay.worlds import make_trace, random_trace
from tests.support.offers import make_offer


def served(row: int, gpu: str, took_s: float, *, batch: int = 8, version: str = "0.6.0", count: int = 1) -> Observation:
    """One timed run; `batch` makes it another configuration."""
    raw: dict[str, Any] = {
        "id": f"site/{row}", "source": "site", "gpu_type": gpu, "outcome": "completed",
        "layout": {"gpu_count": count, "tensor_parallel": count}, "simulated": False, "runtime_s": took_s,
        "software": {"engine": "vllm", "version": version},
        "workload": {"type": "inference", "model": "Qwen/Qwen2-7B", "num_requests": 64, "max_batch_size": batch,
                     "input_length": 256, "output_length": 128, "engine": "vllm"},
    }  # fmt: skip
    return observe(raw)


TIMED = (
    served(0, "H100-SXM", 10.0),
    served(1, "H100-SXM", 12.0),
    served(2, "H100-SXM", 50.0, version="0.7.0"),
    served(3, "L40S", 30.0),
    served(4, "H100-SXM", 8.0, batch=16),  # on one card only
    served(5, "RTX4090", 90.0),
)


@cache
def some_bundle() -> Bundle:
    return train(invented_world(), seed=1, created="test", git_revision="", base=None)


def worlds(found: Any, jobs: Any = ((0.0, 1, 3600.0),), seed: int = 1) -> MeasuredWorlds:
    offers = [make_offer("H100-SXM", 3.0), make_offer("L40S", 0.9), make_offer("A10", 0.1)]
    bundle = some_bundle()
    trace = make_trace(jobs) if isinstance(jobs, tuple) else jobs
    return build_measured(trace, found, Market(offers, unlimited=True), load_gpu_types(), lambda _: bundle, seed=seed)


def test_a_configuration_is_what_was_timed_on_two_cards_whatever_the_software_version() -> None:
    (found,) = configurations(TIMED)
    cells = {cell.example.question.gpu.name: cell for cell in found.cells}
    assert set(cells) == {"H100-SXM", "L40S", "RTX4090"}
    assert (cells["H100-SXM"].run_s, cells["H100-SXM"].repeats) == (12.0, 3)
    assert cells["H100-SXM"].example.id == "site/1"


def test_a_layout_is_part_of_a_configuration_unless_it_is_free() -> None:
    wide = [served(6, "H100-SXM", 6.0, count=2), served(7, "L40S", 18.0, count=2), served(8, "A10", 40.0, count=4)]
    assert [one.layout and one.layout.gpu_count for one in configurations([*TIMED, *wide])] == [1, 2]
    (free,) = configurations([*TIMED, *wide], free_layout=True)
    assert (free.layout, len(free.cells)) == (None, 6)


def test_only_measured_cells_that_are_for_sale_can_be_chosen() -> None:
    world = worlds(configurations(TIMED)).known
    (one,) = world.classes
    assert {world.market.terms[terms].gpu_type for terms in one.menu.terms.tolist()} == {"H100-SXM", "L40S"}
    assert set(one.menu.gpu_count.tolist()) == {1}
    measured = dict(zip(one.truth.gpu_type, one.truth.run_s.tolist(), strict=True))
    assert measured == {"H100-SXM": 12.0, "L40S": 30.0}


def test_the_truth_is_the_measured_rate() -> None:
    world = worlds(configurations(TIMED)).known
    (user,) = replay(world, USER).attempts
    (best,) = replay(world, ORACLE).attempts
    assert world.market.stock.offers[user.offer].gpu_type == "H100-SXM"
    assert user.run_s == pytest.approx(3600.0)
    # $3.0 × 12 s against $0.9 × 30 s of the same work
    assert world.market.stock.offers[best.offer].gpu_type == "L40S"
    assert best.run_s == pytest.approx(3600.0 * 30.0 / 12.0)


def test_nothing_runs_out_of_memory_and_the_oracle_pays_least_for_each_job() -> None:
    world = worlds(configurations([*TIMED, served(6, "L40S", 20.0, batch=16)]), random_trace(4, 60)).known
    assert len(world.classes) == 2
    least = timeline(world, replay(world, ORACLE).columns()).cost_micros
    for policy in POLICIES:
        journal = replay(world, policy)
        assert all(one.completed for one in journal.attempts)
        assert (least <= timeline(world, journal.columns()).cost_micros + 1).all()


def test_a_doubted_world_has_the_same_truth_but_asks_the_memory_forecast() -> None:
    both = worlds(configurations(TIMED))
    assert both.known.classes[0].menu.accepted.all()
    np.testing.assert_array_equal(both.known.classes[0].truth.run_s, both.doubted.classes[0].truth.run_s)
    assert (both.doubted.classes[0].menu.fit < 1.0).any()


def test_configurations_that_are_sold_on_one_card_only_leave_nothing_to_choose() -> None:
    with pytest.raises(InvalidReplay, match="no configuration was timed on two GPU types"):
        worlds(configurations([served(0, "H100-SXM", 10.0), served(1, "RTX4090", 20.0)]))


@pytest.mark.parametrize("group", [group_of, family_of])
def test_no_bundle_has_seen_the_groups_it_is_asked_about(tmp_path: Path, group: Any) -> None:
    seen = [one for one in invented_world() if one.runtime_s is not None]
    taught: list[list[Observation]] = []

    def training(observations: list[Observation], **options: Any) -> Any:
        taught.append(list(observations))
        return train(observations, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scheduler.replay.held_out.train", training)
        result = hold_out(seen, group, seed=7, keep_in=tmp_path)
    assert result.trained == len(taught) > 1
    names = {group(one) for one in seen}
    assert set(result.bundle_of) == names
    # what one training left out is exactly what its bundle answers
    left_out = [names - {group(one) for one in rows} for rows in taught]
    assert sorted(name for part in left_out for name in part) == sorted(names)
    by_bundle: dict[str, set[str]] = {}
    for name, bundle in result.bundle_of.items():
        by_bundle.setdefault(bundle.version, set()).add(name)
    assert sorted(map(sorted, by_bundle.values())) == sorted(map(sorted, left_out))


def test_kept_bundles_are_used_again_unless_an_observation_changed(tmp_path: Path) -> None:
    seen = [one for one in invented_world() if one.runtime_s is not None]
    first = hold_out(seen, group_of, seed=7, keep_in=tmp_path)
    again = hold_out(seen, group_of, seed=7, keep_in=tmp_path)
    assert (first.trained > 0, again.trained) == (True, 0)
    assert {name: one.version for name, one in again.bundle_of.items()} == {
        name: one.version for name, one in first.bundle_of.items()
    }
    changed = [replace(seen[0], runtime_s=1.25 * (seen[0].runtime_s or 1.0)), *seen[1:]]
    assert hold_out(changed, group_of, seed=7, keep_in=tmp_path).trained == first.trained - 1
