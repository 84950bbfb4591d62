"""The numpy reader of LightGBM text says what LightGBM says."""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.errors import InvalidBundle
from predictor.learned.boosting import Boosting, boost
from predictor.learned.trees import Trees


def grown(seed: int, leaves: int, rounds: int, rows: int = 400, columns: int = 6) -> tuple[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, columns))
    features[:, 0] = generator.integers(0, 3, rows)  # a flag, whose thresholds are met exactly
    target = features[:, 0] + features[:, 1] * features[:, 2] + generator.normal(size=rows) * 0.1
    text = boost(
        features,
        target,
        lower_bound=np.zeros(rows, dtype=bool),
        weights=np.ones(rows),
        growing=(1,),
        seed=seed,
        settings=Boosting(trees=rounds, leaves=leaves, min_rows=3),
    )
    return text, features


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), leaves=st.integers(2, 32), rounds=st.integers(1, 30))
def test_every_row_gets_what_lightgbm_predicts(seed: int, leaves: int, rounds: int) -> None:
    text, features = grown(seed, leaves, rounds)
    thresholds = [float(word) for line in re.findall(r"^threshold=(.+)$", text, re.MULTILINE) for word in line.split()]
    # rows exactly at thresholds are where a reader goes wrong; but the one LightGBM puts around zero, 1e-35, its own
    # parser reads back a unit in the last place off
    thresholds = [threshold for threshold in thresholds if abs(threshold) > 1e-30]
    at_thresholds = np.random.default_rng(seed).choice(thresholds or [0.5], size=(200, features.shape[1]))
    asked = np.concatenate([features, at_thresholds])
    expected = lightgbm.Booster(model_str=text).predict(asked)
    np.testing.assert_allclose(Trees(text).predict(asked), expected, rtol=0, atol=1e-12)


def test_a_row_is_worth_the_same_alone_and_among_others() -> None:
    text, features = grown(1, 16, 40)
    trees = Trees(text)
    alone = np.concatenate([trees.predict(features[row : row + 1]) for row in range(len(features))])
    assert (alone == trees.predict(features)).all()


def test_a_row_of_many_cards_and_layouts_is_worth_the_same_alone() -> None:
    text, features = grown(2, 16, 80)
    trees = Trees(text)
    # every card (columns 0 to 2) with every layout (3 and 4), and a size that only some of them share
    cards, layouts = features[:40, :3], features[:50, 3:5]
    asked = np.column_stack([np.repeat(cards, 50, axis=0), np.tile(layouts, (40, 1)), np.zeros(2000)])
    asked[:, 5] = np.random.default_rng(2).choice(features[:7, 5], size=2000)
    shuffled = np.random.default_rng(3).permutation(asked)
    for rows in (asked, shuffled):
        alone = np.concatenate([trees.predict(rows[place : place + 1]) for place in range(len(rows))])
        assert (alone == trees.predict(rows)).all()


def test_no_rows_are_no_predictions() -> None:
    assert Trees(grown(1, 8, 3)[0]).predict(np.empty((0, 6))).shape == (0,)


def test_rows_that_are_all_alike_teach_nothing() -> None:
    text = boost(
        np.ones((10, 3)),
        np.arange(10.0),
        lower_bound=np.zeros(10, dtype=bool),
        weights=np.ones(10),
        growing=(),
        seed=1,
        settings=Boosting(),
    )
    assert (Trees(text).predict(np.random.default_rng(0).normal(size=(5, 3))) == 0.0).all()


def test_a_grown_column_never_lowers_the_sum() -> None:
    text, features = grown(3, 16, 60)
    asked = np.repeat(features[:20], 50, axis=0)
    asked[:, 1] = np.tile(np.linspace(-3, 3, 50), 20)
    steps = np.diff(Trees(text).predict(asked).reshape(20, 50), axis=1)
    assert (steps >= -1e-12).all()


def test_a_lower_bound_pulls_only_from_below() -> None:
    rows = np.repeat([[0.0], [1.0]], 50, axis=0)
    measured = np.repeat([2.0, -2.0], 50)
    text = boost(
        rows,
        measured,
        lower_bound=np.ones(100, dtype=bool),
        weights=np.ones(100),
        growing=(),
        seed=1,
        settings=Boosting(trees=400, ridge=0.0),
    )
    low, high = Trees(text).predict(np.array([[1.0], [0.0]]))
    assert high > 1.5, "a bound of 2 must be approached from below"
    assert low == pytest.approx(0.0, abs=0.05), "a bound of -2 is already met and must not pull down"


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda text: "nonsense", "LightGBM text"),
        (lambda text: text.replace("num_class=1", "num_class=3"), "several classes"),
        (lambda text: text.replace("num_cat=0", "num_cat=1"), "categorical"),
        (lambda text: text.replace("decision_type=2", "decision_type=8"), "missing"),
        (lambda text: text.replace("left_child=1", "left_child=0"), "after its parent"),
    ],
)
def test_text_that_is_no_plain_model_is_refused(damage: object, word: str) -> None:
    text, _ = grown(1, 8, 3)
    damaged = damage(text)  # type: ignore[operator]
    assert damaged != text
    with pytest.raises(InvalidBundle, match=word):
        Trees(damaged)
