"""Put the routes together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from scheduler.api.context import ApiContext
from scheduler.api.problems import install, responses
from scheduler.api.routes import (
    billing,
    economics,
    gpu_types,
    health,
    jobs,
    log_search,
    logs,
    models,
    observations,
    offers,
    plans,
    predictions,
    prices,
    secrets,
    story,
    tenants,
)
from scheduler.api.schemas.common import Problem

DESCRIPTION = """\
Tell Pythia the job; it says how much VRAM, how long, how much money and on which GPU, runs it there, and learns.

Every call but those about health asks for `Authorization: Bearer KEY`. Every error is problem+json with one sentence
in `detail` and a stable word in `code`. Money is decimal text in dollars, never a float; times are ISO 8601.
"""


def create_app(context: ApiContext) -> FastAPI:
    """The whole API on one installation."""
    app = FastAPI(
        title="Pythia",
        version=version("pythia-scheduler"),
        description=DESCRIPTION,
        separate_input_output_schemas=False,
    )
    app.state.context = context
    install(app)
    v1 = APIRouter(prefix="/v1", responses=responses(401, 422))
    for part in (
        predictions,
        plans,
        jobs,
        story,
        logs,
        log_search,
        billing,
        secrets,
        offers,
        prices,
        tenants,
        gpu_types,
        observations,
        models,
        economics,
    ):
        v1.include_router(part.router)
    for part_with_bulk in (jobs, offers, observations):
        v1.include_router(part_with_bulk.bulk)
    app.include_router(v1)
    app.include_router(health.router, prefix="/v1")
    app.include_router(health.router, include_in_schema=False)  # where probes and Prometheus look by habit
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        app.openapi_schema = _without_fastapi_errors(schema)
    return app.openapi_schema


def _without_fastapi_errors(schema: dict[str, Any]) -> dict[str, Any]:
    """FastAPI documents its own form of a 422, which we never send."""
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
    return schema
