"""What decisions are made with: a predictor and the facts that specs and offers speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from predictor.architectures.catalogue import load_models
from predictor.errors import NotEnoughData
from predictor.forecast import Forecast, Question
from predictor.hardware import GpuCatalogue, load_gpu_types
from predictor.telemetry import Observation
from predictor.workloads.spec import ModelSource
from scheduler.services.memory import Memory


class Predictor(Protocol):
    """Whatever answers how much and how long."""

    @property
    def version(self) -> str:
        """Which predictor this is; it stands in every decision."""
        ...

    def forecast(
        self, questions: Sequence[Question], history: Sequence[Observation] | None = None
    ) -> Sequence[Forecast]:
        """One forecast for each question, in order; `history` holds past jobs of a custom kind, oldest first."""
        ...

    def explain(
        self, questions: Sequence[Question], history: Sequence[Observation] | None = None
    ) -> Sequence[Forecast | NotEnoughData]:
        """The same with why each says what it says, and a refusal in the place of the question it is of."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """A predictor with the catalogues of GPU types and models."""

    predictor: Predictor
    gpus: GpuCatalogue
    models: ModelSource
    memory: Memory = field(default_factory=Memory)


def know(predictor: Predictor) -> Knowledge:
    """A predictor with the facts that ship with Pythia."""
    return Knowledge(predictor=predictor, gpus=load_gpu_types(), models=load_models())
