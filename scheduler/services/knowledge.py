"""What decisions are made with: a predictor and the facts that specs and offers speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from predictor.architectures.catalogue import load_models
from predictor.errors import NotEnoughData
from predictor.forecast import Forecast, Question
from predictor.hardware import GpuCatalogue, load_gpu_types
from predictor.telemetry import Observation
from predictor.workloads.spec import ModelSource
from scheduler.domain.offers import BESIDE, FILES
from scheduler.services.memory import Memory
from scheduler.settings import Settings


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
    beside: Mapping[str, frozenset[str]] = field(default_factory=lambda: BESIDE)
    """What some backends carry out of a run beside its command, as the installation is set up."""
    memory: Memory = field(default_factory=Memory)


def know(predictor: Predictor, settings: Settings | None = None) -> Knowledge:
    """A predictor with the facts that ship with Pythia, and with what an installation says of its backends."""
    beside = BESIDE if settings is None else beside_of(settings)
    return Knowledge(predictor=predictor, gpus=load_gpu_types(), models=load_models(), beside=beside)


def beside_of(settings: Settings) -> Mapping[str, frozenset[str]]:
    """Files are moved on a cluster where there is an image that can."""
    if settings.kubernetes_staging_image is None:
        return BESIDE
    return {**BESIDE, "kubernetes": BESIDE["kubernetes"] | FILES}
