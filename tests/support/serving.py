"""A predictor of servers whose rate, memory and phases are one line of arithmetic each, to be worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predictor.forecast import Forecast, Question, Spread
from predictor.workload import InferenceWorkload
from tests.support.predictor import FixedPredictor

_PHASE_PARTS = [
    f"{phase}_{part}_s"
    for phase in ("prefill", "decode")
    for part in ("compute", "memory", "communication", "overhead")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One request takes the whole layout `prompt_s`, and `answer_s` shared by all that are in flight, up to `most`."""

    prompt_s: float = 0.5
    answer_s: float = 12.0
    most: int = 8
    """Sequences in flight from which more serve no more."""
    holds: int = 64
    """Sequences in flight that fit, on a whole layout."""
    spread: float = 1.25
    """p90 over p50, and p50 over p10."""

    def forecast(self, questions: Sequence[Question]) -> list[Forecast]:
        """One forecast for each question."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Forecast:
        workload = question.workload
        assert isinstance(workload, InferenceWorkload)
        in_flight = workload.max_batch_size or 1
        prefill = workload.num_requests * self.prompt_s
        decode = workload.num_requests * self.answer_s / min(in_flight, self.most) if workload.output_length else 0.0
        runtime = prefill + decode
        fits = 0.99 if in_flight <= self.holds else 0.1
        plain = FixedPredictor().forecast([question])[0]
        return Forecast(
            **{name: getattr(plain, name) for name in Forecast.__slots__}
            | {
                "fit_probability": fits,
                "runtime_s": Spread(p10=runtime / self.spread, p50=runtime, p90=runtime * self.spread),
                # prompts wait for arithmetic alone, answers for memory alone
                "details": dict.fromkeys(_PHASE_PARTS, 0.0)
                | {"prefill_s": prefill, "decode_s": decode, "prefill_compute_s": prefill, "decode_memory_s": decode},
            }
        )
