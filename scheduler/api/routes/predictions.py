"""How much and how long, for up to 10,000 questions at once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse, Response

from predictor.errors import PythiaError
from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.decisions import FORECAST_EXAMPLE
from scheduler.api.schemas.explanations import EXPLANATION_EXAMPLE
from scheduler.api.strict_json import BulkRoute
from scheduler.services.predictions import Answer, predict

router = APIRouter(tags=["predictor"], route_class=BulkRoute)

MOST_AT_ONCE = 10_000

QUESTION: dict[str, Any] = {
    "id": "a1",
    "workload": {
        "type": "training",
        "method": "lora",
        "model": "meta-llama/Llama-3.1-8B",
        "precision": "bf16",
        "sequence_length": 4096,
        "micro_batch_size": 2,
        "num_samples": 20000,
    },
    "gpu_type": "H100-SXM",
    "layout": {"gpu_count": 1},
}
REFUSED = {"id": "a2", "error": "GPU type 'H100' names several variants: say one of H100-SXM, H100-PCIe, H100-NVL"}


@router.post(
    "/predictions",
    summary="Forecast memory and time",
    response_model=list[dict[str, Any]],
    responses=responses(413, 415)
    | {
        200: {
            "description": "Forecasts in the order asked; a question that cannot be read is `{id, error, code}`",
            "content": {
                "application/json": {
                    "examples": {
                        "forecasts": {"value": [{"id": "a1"} | FORECAST_EXAMPLE, REFUSED]},
                        "explained": {
                            "summary": "with explain=true, or `explain: true` in the question",
                            "value": [{"id": "a1"} | FORECAST_EXAMPLE | {"explanation": EXPLANATION_EXAMPLE}],
                        },
                    }
                }
            },
        }
    },
)
def make_predictions(
    questions: Annotated[
        list[Any],
        Body(
            min_length=1,
            max_length=MOST_AT_ONCE,
            description="Each {id, workload, gpu_type, layout}, perhaps with software and vram_metric. "
            "A layout with only gpu_count means the best split, which is reported. `explain: true` asks why of that "
            "question alone",
            examples=[[QUESTION]],
        ),
    ],
    context: Context,
    tenant: Tenant,
    explain: Annotated[
        bool,
        Query(
            description="Give each forecast an `explanation`: the parts of memory and time with the bottleneck, what "
            "each layer of learning changed, and the nearest known jobs with the features that differ most"
        ),
    ] = False,
) -> Response:
    """One answer for each question. Custom work is forecast from what this installation saw of its kind."""
    answers = predict(context.engine, context.knowledge, questions, tenant_id=tenant, explain=explain)
    return JSONResponse([_body(asked, answer) for asked, answer in zip(questions, answers, strict=True)])


def _body(asked: object, answer: Answer) -> dict[str, Any]:
    said = {"id": asked.get("id") if isinstance(asked, dict) else None}
    if isinstance(answer, PythiaError):
        return said | {"error": str(answer), "code": answer.code}
    return said | answer.to_json()
