"""The predictor: how much memory and how long, for any list of questions in one pass.

Arithmetic first, then what a bundle learned on top of it, then quantiles from held-out residuals. A task
the bundle does not cover keeps its arithmetic, with documented margins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from predictor.answers import Outlook, custom_answers, inference_forecasts, training_forecasts
from predictor.arithmetic import InferenceArithmetic, TrainingArithmetic, inference_arithmetic, training_arithmetic
from predictor.bundle import Bundle, load_bundle
from predictor.calibration import Calibration
from predictor.errors import NotEnoughData
from predictor.features import Task
from predictor.footprint.parts import Footprint
from predictor.forecast import Forecast, Question
from predictor.forecasts import Forecasts, joined, listed
from predictor.gather import Floats, select
from predictor.learned.correction import Corrected, uncorrected
from predictor.quantiles import MEMORY_MARGIN, P95, TIME_MARGIN, Bands, bands, fit_probability
from predictor.workload import CustomWorkload, InferenceWorkload, TrainingWorkload

if TYPE_CHECKING:  # a forecast of one line from the shell needs no reader of telemetry
    from predictor.telemetry import Observation

ARITHMETIC_VERSION = "arithmetic"
"""The version of a predictor without a bundle."""

Answer = Forecast | NotEnoughData


class Predictor:
    """Answers questions; holds what was learned and nothing that changes."""

    def __init__(self, bundle: Bundle | None) -> None:
        """Without a bundle every answer is arithmetic, and custom jobs are known by their own history alone."""
        self._corrections = dict(bundle.corrections) if bundle else {}
        self._kinds = dict(bundle.kinds) if bundle else {}
        self._sites = dict(bundle.sites) if bundle else {}
        self.version = bundle.version if bundle else ARITHMETIC_VERSION

    def forecast(self, questions: Sequence[Question], history: Sequence[Observation] | None = None) -> Forecasts:
        """One forecast per question, in order; `history` holds past custom jobs of any kinds, oldest first.

        Raises NotEnoughData for a custom job of which nothing is known.
        """
        parts: list[tuple[list[int], Forecasts]] = []
        for places, answers in self._by_kind(questions, history):
            if not isinstance(answers, Forecasts):
                answers = listed([_or_raise(answer) for answer in answers])  # noqa: PLW2901
            if len(places) == len(questions):
                return answers
            parts.append((places, answers))
        return joined(parts, len(questions))

    def answer(self, questions: Sequence[Question], history: Sequence[Observation] | None = None) -> list[Answer]:
        """Like `forecast`, with the refusal of one question in its own place."""
        found: dict[int, Answer] = {}
        for places, answers in self._by_kind(questions, history):
            found.update(zip(places, answers, strict=True))
        return [found[place] for place in range(len(questions))]

    def _by_kind(
        self, questions: Sequence[Question], history: Sequence[Observation] | None
    ) -> Iterator[tuple[list[int], Sequence[Answer]]]:
        """The questions of each kind of work, by their places, and the answers to them."""
        kinds = [type(question.workload) for question in questions]
        places_of: dict[type, list[int]] = {kind: [] for kind in kinds}
        if len(places_of) == 1:
            places_of[kinds[0]] = list(range(len(kinds)))
        else:
            for place, kind in enumerate(kinds):
                places_of[kind].append(place)
        asking: Mapping[type, Callable[[Sequence[Question]], Sequence[Answer]]] = {
            TrainingWorkload: self._training,
            InferenceWorkload: self._inference,
            CustomWorkload: lambda asked: custom_answers(asked, history or (), self._kinds, self.version),
        }
        for kind, places in places_of.items():
            asked = questions if len(places) == len(questions) else [questions[place] for place in places]
            yield places, asking[kind](asked)

    def explain(self, questions: Sequence[Question], history: Sequence[Observation] | None = None) -> list[Answer]:
        """Like `answer`, each forecast with its explanation; it costs several times as much, which only those pay who
        ask."""
        from predictor.explained.explaining import explain_answers  # noqa: PLC0415 - only those who ask wait for it

        return explain_answers(
            questions,
            self.answer(questions, history),
            history or (),
            corrections=self._corrections,
            sites=self._sites,
            kinds=self._kinds,
        )

    def _training(self, questions: Sequence[Question]) -> Forecasts:
        arithmetic = training_arithmetic(questions)
        outlook = self._outlook(Task.TRAINING_MEMORY, Task.TRAINING_TIME, arithmetic, arithmetic.time.step_time_s)
        return training_forecasts(questions, arithmetic, outlook, self.version)

    def _inference(self, questions: Sequence[Question]) -> Forecasts:
        arithmetic = inference_arithmetic(questions)
        outlook = self._outlook(Task.INFERENCE_MEMORY, Task.INFERENCE_TIME, arithmetic, arithmetic.time.runtime_s)
        return inference_forecasts(questions, arithmetic, outlook, self.version)

    def _outlook(
        self, memory: Task, time: Task, arithmetic: TrainingArithmetic | InferenceArithmetic, seconds: Floats
    ) -> Outlook:
        usable = np.maximum(arithmetic.columns.gpu.usable_gib, 1e-9)
        held, held_calibration = self._correct(memory, arithmetic)
        timed, timed_calibration = self._correct(time, arithmetic)
        need = np.log(arithmetic.footprint.need_gib)
        fit = fit_probability(need, np.log(usable), held, held_calibration, MEMORY_MARGIN)
        peak = bands(np.log(arithmetic.footprint.peak_gib), held, held_calibration, MEMORY_MARGIN)
        return Outlook(
            memory=_filled(peak, arithmetic.footprint, usable, fit),
            time=bands(np.log(seconds), timed, timed_calibration, TIME_MARGIN),
            fit=np.where(arithmetic.columns.gpu.usable_gib > 0, fit, 0.0),
            learned=held.learned | timed.learned,
            # memory that nobody measured is arithmetic with its margin and says so; the serving of an engine that takes
            # the whole card is known by its times all the same
            in_domain=timed.in_domain & (held.in_domain | ~held.learned),
            memory_seen=held.in_domain,
        )

    def _correct(
        self, task: Task, arithmetic: TrainingArithmetic | InferenceArithmetic
    ) -> tuple[Corrected, Calibration]:
        correction, site = self._corrections.get(task), self._sites.get(task)
        corrected = uncorrected(len(arithmetic.footprint.need_gib))
        calibration = MEMORY_MARGIN if task.is_memory else TIME_MARGIN
        if correction is None and site is None:
            return corrected, calibration
        rows = task.features.rows(arithmetic)
        if correction is not None:
            corrected, calibration = correction.correct(rows), correction.calibration
            # a part of a card looks like a small card, but none was measured: only this site's own runs make it known
            whole = ~arithmetic.columns.gpu.sliced
            corrected = replace(corrected, in_domain=corrected.in_domain & whole)
        return (site.refine(rows, corrected) if site else corrected), calibration


def _filled(peak: Bands, footprint: Footprint, usable: Floats, fit: Floats) -> Bands:
    """What gives way to the card's size takes at most what its engine plans with, and all of it where sequences wait.

    It cannot pass the card either, once the least that must fit does. So a forecast does not fall where longer texts
    leave room for fewer of them.
    """
    planned, whole = np.log(np.maximum(footprint.planned_gib, 1e-9)), np.log(usable)
    held = footprint.elastic & (fit >= P95)
    alone = footprint.crowded & (footprint.need_gib > footprint.planned_gib)
    middle = select([footprint.elastic & ~alone, held], [planned, whole], np.inf)
    full = np.where(footprint.crowded & held, whole, -np.inf)
    waiting, most = np.where(footprint.crowded, planned, -np.inf), np.where(held, whole, np.inf)
    return Bands(
        p10=np.minimum(np.maximum(peak.p10, waiting), middle),
        p50=np.minimum(np.maximum(peak.p50, waiting), middle),
        p90=np.minimum(np.maximum(peak.p90, full), most),
        p95=np.minimum(np.maximum(peak.p95, full), most),
    )


def _or_raise(answer: Answer) -> Forecast:
    if isinstance(answer, NotEnoughData):
        raise answer
    return answer


@cache
def load_default_predictor() -> Predictor:
    """The predictor with the bundle that ships with Pythia, read once."""
    return Predictor(load_bundle())
