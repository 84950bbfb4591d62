"""From a plan to the body that is sent."""

from __future__ import annotations

from scheduler.api import present
from scheduler.api.schemas.plans import PlanOut, SuggestionOut
from scheduler.domain.money import exact_usd
from scheduler.domain.suggestions import Suggestion
from scheduler.services.plan import Plan


def plan(made: Plan) -> PlanOut:
    """A decision that nothing keeps, with what would follow a crash of its placement and what else there is."""
    return PlanOut(
        **dict(present.decision(made.decision, made.fallback, made.trained_on)),
        pareto=[present.candidate(one) for one in made.pareto],
        suggestions=[_suggestion(one) for one in made.suggestions],
    )


def _suggestion(made: Suggestion) -> SuggestionOut:
    chosen = made.chosen
    assert chosen.layout is not None and chosen.estimate is not None  # noqa: S101, PT018 - it was chosen
    return SuggestionOut(
        change={made.change.field: made.change.value},
        text=made.change.text,
        gpu_type=chosen.offer.gpu_type,
        gpu_count=chosen.gpu_count,
        layout=chosen.layout.to_json(),
        provider=chosen.offer.provider,
        region=chosen.offer.region,
        spot=chosen.spot,
        expected_cost_usd=exact_usd(chosen.estimate.expected_micros),
        saving_percent=_percent(made.saving),
        longer_percent=_percent(made.longer),
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)
