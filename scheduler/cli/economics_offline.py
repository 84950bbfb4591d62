"""`pythia economics … --offline`: the shipped predictor and price snapshot answer instead of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from predictor.model import load_default_predictor
from scheduler.api import present_economics
from scheduler.economics.spec import parse_crossover_spec, parse_tokens_spec, parse_training_run_spec
from scheduler.services.economics import compare_apis_on, price_tokens_on, price_training_run_on
from scheduler.services.knowledge import know
from scheduler.services.seed import shipped_offers

_Steps = tuple[Callable[[object], Any], Callable[..., Any], Callable[[Any], BaseModel]]

_STEPS: Mapping[str, _Steps] = {
    "tokens": (parse_tokens_spec, price_tokens_on, present_economics.tokens),
    "crossover": (parse_crossover_spec, compare_apis_on, present_economics.crossover),
    "training-run": (parse_training_run_spec, price_training_run_on, present_economics.training_run),
}
"""How a question is read, answered and sent."""


def answer_offline(what: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a server would send for a question."""
    parse, answer, present = _STEPS[what]
    spec = parse(asked)
    return present(answer(shipped_offers(), know(load_default_predictor()), spec)).model_dump(mode="json")
