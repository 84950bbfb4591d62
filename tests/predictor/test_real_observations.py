"""Every real observation is a question that is answered, and the shipped bundle answers it well."""

from __future__ import annotations

import gzip
import json
from typing import Any

from predictor.architectures.catalogue import load_models
from predictor.bundle import load_bundle
from predictor.evaluation.scores import folds_of
from predictor.features import Task
from predictor.hardware import load_gpu_types
from predictor.learned.folds import fold_ids
from predictor.learned.samples import samples
from predictor.lines import Facts, answer_lines
from predictor.model import Predictor
from tests.predictor.observations import real_folder, real_observations


def test_every_line_answers_in_order() -> None:
    predictor, facts = Predictor(load_bundle()), Facts(models=load_models(), gpus=load_gpu_types())
    for file in sorted(real_folder().glob("*.jsonl.gz")):
        with gzip.open(file, "rt") as stream:
            lines = stream.readlines()
        answers: list[dict[str, Any]] = answer_lines(lines, predictor, facts)
        assert [answer["id"] for answer in answers] == [json.loads(line)["id"] for line in lines]
        # a source may contradict itself, and that line alone is refused
        errors = [str(answer["error"]) for answer in answers if "error" in answer]
        assert all("more than global_batch_size" in error for error in errors), (file.name, errors)
        assert all(answer["runtime_s"]["p50"] > 0 for answer in answers if "error" not in answer)


def test_the_shipped_scores_were_made_on_the_folds_of_these_observations() -> None:
    manifest = load_bundle().manifest
    scores = manifest.metrics["held_out"]
    assert scores
    for score in scores:
        found = samples(Task(score["task"]), real_observations())
        folds = folds_of(found, score["grouping"], seed=manifest.seed)
        assert fold_ids(folds, found.ids) == score["folds"], (score["task"], score["grouping"])


def test_nothing_that_ships_was_trained_on_what_is_kept_for_validation() -> None:
    assert {source.name for source in load_bundle().manifest.sources}.isdisjoint({"trtllm_static"})
