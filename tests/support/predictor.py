"""A predictor for tests of what lies around it: memory and time from one line of arithmetic each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from predictor.errors import NotEnoughData
from predictor.forecast import Breakdown, Forecast, Question, Spread, Vram
from predictor.telemetry import Observation
from predictor.words import Basis
from predictor.workload import CustomWorkload


@dataclass(slots=True)
class FixedPredictor:
    """Answers from a fixed need and a fixed amount of work, split evenly over the GPUs; counts what it was asked."""

    need_gib: float = 20.0
    """Of one GPU; a layout of n needs this much over n, on each."""
    gpu_hours: float = 1.0
    """On one GPU whatever its type; n GPUs take this much over n."""
    spread: float = 1.2
    """p90 over p50, and p95 over p50 of the memory."""
    startup_s: float = 30.0
    version: str = "fixed-1"
    change: Callable[[Question, Forecast], Forecast] = lambda question, forecast: forecast
    """A last word on each answer."""
    asked: list[int] = field(default_factory=list)
    """How many questions each call asked."""
    histories: list[int | None] = field(default_factory=list)
    """How many observations came with each call."""

    def forecast(self, questions: Sequence[Question], history: Sequence[Observation] | None = None) -> list[Forecast]:
        """One forecast for each question."""
        self.asked.append(len(questions))
        self.histories.append(None if history is None else len(history))
        return [self.change(question, self._answer(question, history)) for question in questions]

    def explain(
        self, questions: Sequence[Question], history: Sequence[Observation] | None = None
    ) -> list[Forecast | NotEnoughData]:
        """One line of arithmetic has nothing to explain."""
        return list(self.forecast(questions, history))

    def _answer(self, question: Question, history: Sequence[Observation] | None) -> Forecast:
        count, workload = question.layout.gpu_count, question.workload
        hours = self.gpu_hours / count
        need: float | None = self.need_gib / count
        basis = Basis.ARITHMETIC
        if isinstance(workload, CustomWorkload):
            need, basis = workload.vram_gib, Basis.STATED
            times = [o.runtime_s for o in history or () if o.runtime_s is not None]
            if times:
                hours, basis = sum(times) / len(times) / 3600, Basis.HISTORY
            elif workload.runtime_s is not None:
                hours = workload.runtime_s / 3600
            else:
                raise NotEnoughData(f"nothing is known of {workload.kind}: state runtime_s")
        usable = question.gpu.usable_gib
        vram = None if need is None else Vram(p50_gib=need, p95_gib=need * self.spread)
        fits = None if vram is None or usable is None else (0.99 if vram.p95_gib <= usable else 0.0)
        return Forecast(
            gpu_type=question.gpu.name, layout=question.layout, peak_vram=vram, usable_vram_gib=usable,
            fit_probability=fits,
            vram_breakdown=None if need is None else Breakdown(
                weights=need / 2, gradients=0, optimizer=0, activations=need / 2, kv_cache=0, overhead=0
            ),
            tokens_per_second=None, step_time_s=None,
            runtime_s=Spread(p10=hours * 3600 / self.spread, p50=hours * 3600, p90=hours * 3600 * self.spread),
            startup_s=self.startup_s, max_batch_size=None, basis=basis, in_domain=True, assumptions=(),
            model_version=self.version,
        )  # fmt: skip


def slower(factor: float, *gpu_types: str) -> Callable[[Question, Forecast], Forecast]:
    """A last word that makes some GPU types slower than the others."""

    def change(question: Question, forecast: Forecast) -> Forecast:
        run = forecast.runtime_s
        if question.gpu.name not in gpu_types or run is None:
            return forecast
        return replace(forecast, runtime_s=Spread(p10=run.p10 * factor, p50=run.p50 * factor, p90=run.p90 * factor))

    return change
