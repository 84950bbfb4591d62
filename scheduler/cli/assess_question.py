"""`pythia economics assess`: read the questionnaire, and answer from the forecasts and prices at hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scheduler.cli.job_file import STDIN, read_mapping, read_model_beside

QUESTIONNAIRE = "no questionnaire: it must be a mapping with models"


def read_questionnaire(name: str) -> dict[str, Any]:
    """The questionnaire in a YAML (or JSON) file, `-` being standard input; InvalidSpec says what is wrong with it.

    A model may be the path of a config.json beside the file.
    """
    raw = read_mapping(name, QUESTIONNAIRE)
    models = raw.get("models")
    if isinstance(models, list):
        raw = raw | {"models": [_with_config(name, one) for one in models]}
    return raw


def _with_config(name: str, use: Any) -> Any:
    model = use.get("model") if isinstance(use, dict) else None
    if not isinstance(model, str) or not model.endswith(".json"):
        return use
    return use | {"model": read_model_beside(None if name == STDIN else name, model)}


def assess_offline(asked: dict[str, Any]) -> dict[str, Any]:
    """What a server would send, at the shipped prices."""
    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.api import present_assess  # noqa: PLC0415
    from scheduler.economics.assess_spec import parse_assess_spec  # noqa: PLC0415
    from scheduler.services.assess import assess_on  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    spec = parse_assess_spec(asked)
    report = assess_on(shipped_offers(), know(load_default_predictor()), spec, datetime.now(UTC).date())
    return present_assess.assess(report).model_dump(mode="json")
