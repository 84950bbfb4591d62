"""Every error as problem+json (RFC 9457): one sentence in `detail`, a stable word in `code`.

One table maps error classes to statuses. What is not in it and not ours is a fault: it becomes a 500 whose
body says nothing of the inside, while the log has the traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from predictor.errors import PythiaError
from scheduler.api.following import TooManyFollowers
from scheduler.api.schemas.common import Problem
from scheduler.domain import errors
from scheduler.domain.secrets import SecretsUnavailable

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[PythiaError], HTTPStatus] = {
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.IllegalTransition: HTTPStatus.CONFLICT,
    errors.IdempotencyConflict: HTTPStatus.CONFLICT,
    errors.NotBetter: HTTPStatus.CONFLICT,
    errors.Conflict: HTTPStatus.CONFLICT,
    SecretsUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyFollowers: HTTPStatus.TOO_MANY_REQUESTS,
    PythiaError: HTTPStatus.UNPROCESSABLE_ENTITY,
}

CODES: Mapping[int, str] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    500: "internal_error",
    503: "unavailable",
}


def problem(status: int, code: str, detail: str, instance: str) -> dict[str, Any]:
    """The body of a problem."""
    return Problem(
        type=f"urn:pythia:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        instance=instance,
    ).model_dump()


def problem_of(error: PythiaError, instance: str) -> dict[str, Any]:
    """The problem that one of our errors is."""
    status = next(STATUS[base] for base in type(error).__mro__ if base in STATUS)
    return problem(status, error.code, str(error), instance)


def install(app: FastAPI) -> None:
    """Answer every error of this application as a problem."""
    app.add_exception_handler(PythiaError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def refuse(status: int, detail: str) -> HTTPException:
    """An error that HTTP itself has a status for: `raise refuse(413, "…")`."""
    return HTTPException(status, detail)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems a call may answer with, for its OpenAPI entry; 401, 422 and 500 are common to all."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(statuses)
    }


def _answer(body: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body, body["status"], headers=headers, media_type=MEDIA_TYPE)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PythiaError)  # noqa: S101 - registered for this class
    body = problem_of(error, request.url.path)
    headers = {"WWW-Authenticate": 'Bearer realm="pythia"'} if body["status"] == HTTPStatus.UNAUTHORIZED else None
    return _answer(body, headers)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    first = error.errors()[0]
    status, code = (400, "invalid_json") if first["type"] == "json_invalid" else (422, "invalid_request")
    return _answer(problem(status, code, sentence(first), request.url.path))


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 - registered for this class
    code = CODES.get(error.status_code, "error")
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"nothing lives at {request.url.path}; the calls are listed at /docs"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{request.method} is not a call of {request.url.path}; use {allowed}"
    return _answer(problem(error.status_code, code, detail, request.url.path), error.headers)


def _fault(request: Request, error: Exception) -> JSONResponse:
    detail = "something went wrong inside; the server's log says what"
    return _answer(problem(500, CODES[500], detail, request.url.path))


def sentence(first: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a sentence with its path and the value that was given."""
    where, *path = (str(part) for part in first["loc"])
    # pydantic puts the tag of the union into the path; people did not write it
    named = ".".join(part for part in path if part not in ("training", "inference", "custom")) or where
    message = str(first["msg"]).removeprefix("Value error, ")
    match first["type"]:
        case "json_invalid":
            return f"the body is not JSON: {first['ctx']['error']} at character {path[0]}"
        case "missing":
            return f"{named} is missing"
        case "extra_forbidden":
            return f"{named} is not a field here; check its spelling or remove it"
        case kind if kind.startswith("union_tag"):
            return f"{named}.type must be training, inference or custom"
    value = first.get("input")
    shown = "" if isinstance(value, dict | list) or first["type"] == "value_error" else f" (it is {value!r:.60})"
    return f"{named}: {message}{shown}"
