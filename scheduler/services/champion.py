"""The predictor that is in use: the promoted version, else the bundle that ships; followed without a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog

from predictor.bundle import Bundle, from_blob, load_bundle
from predictor.errors import InvalidBundle, NotEnoughData
from predictor.forecast import Forecast, Question
from predictor.model import Predictor as BundlePredictor
from predictor.model import load_default_predictor
from predictor.telemetry import Observation
from scheduler.services.knowledge import Predictor
from scheduler.settings import Settings
from scheduler.storage import models
from scheduler.storage.engine import Engine, reading

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
"""How long a promotion may go unnoticed."""


class ChampionPredictor:
    """Answers with the champion of the moment. Threads share it; one of them looks for a new champion at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._looking = threading.Lock()
        self._version: str | None = None
        self._current = load_default_predictor()
        self._look_at = 0.0

    @property
    def version(self) -> str:
        """The version that the next forecast is made with."""
        return self._champion().version

    def forecast(
        self, questions: Sequence[Question], history: Sequence[Observation] | None = None
    ) -> Sequence[Forecast]:
        """Forecast with one version, whatever is promoted meanwhile."""
        return self._champion().forecast(questions, history)

    def explain(
        self, questions: Sequence[Question], history: Sequence[Observation] | None = None
    ) -> Sequence[Forecast | NotEnoughData]:
        """Forecast and say why, with one version."""
        return self._champion().explain(questions, history)

    def _champion(self) -> BundlePredictor:
        if time.monotonic() >= self._look_at and self._looking.acquire(blocking=False):
            try:
                self._look()
                self._look_at = time.monotonic() + LOOK_EVERY_S
            finally:
                self._looking.release()
        return self._current

    def _look(self) -> None:
        with reading(self._engine) as session:
            version = models.champion_version(session)
            if version == self._version:
                return
            blob = None if version is None else models.bundle(session, version)
        self._current = load_default_predictor() if blob is None else BundlePredictor(readable_or_shipped(blob))
        self._version = version
        log.info("follows the champion", version=self._current.version)


def readable_or_shipped(blob: bytes) -> Bundle:
    """A stored bundle, or the shipped one where this version of Pythia cannot read it: an upgrade must not end all
    forecasts until the next training."""
    try:
        return from_blob(blob)
    except InvalidBundle as error:
        log.warning("fell back to the shipped bundle", reason=str(error))
        return load_bundle()


def champion_predictor(engine: Engine, settings: Settings) -> Predictor:
    """The predictor of an installation: the bundle that its settings name, else the champion."""
    if settings.bundle_dir is not None:
        return BundlePredictor(load_bundle(settings.bundle_dir))
    return ChampionPredictor(engine)
