"""Read request bodies strictly: JSON by name, of bounded size, holding only what PostgreSQL can keep.

Python's parser takes NaN, halves of surrogate pairs and NUL characters; a JSON column takes none of them,
and would answer with a fault long after the sender could be told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, NoReturn

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from scheduler.api.problems import refuse

MIB = 2**20


class StrictRequest(Request):
    """A request whose `json()` is strict and whose body ends at a limit."""

    max_body_bytes: int = MIB

    async def body(self) -> bytes:
        """The whole body; 413 as soon as it is longer than this route takes."""
        if not hasattr(self, "_body"):
            too_large = refuse(413, f"the body is larger than {self.max_body_bytes // MIB} MiB; send it in parts")
            declared = self.headers.get("content-length", "")
            if declared.isdigit() and int(declared) > self.max_body_bytes:
                raise too_large
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > self.max_body_bytes:
                    raise too_large
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        """The body as JSON."""
        return parse_strictly(await self.body())


class JsonRoute(APIRoute):
    """A route that reads its body as a StrictRequest."""

    max_body_bytes: ClassVar[int] = MIB

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the checks that come before any parsing."""
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def strict(request: Request) -> Response:
            if "\0" in request.url.path or "%00" in request.scope["query_string"].decode("latin-1"):
                raise refuse(400, "the address holds a NUL character; remove it")
            if takes_json and not _is_json(request.headers.get("content-type", "")):
                raise refuse(415, "send JSON with Content-Type: application/json")
            checked = StrictRequest(request.scope, request.receive)
            checked.max_body_bytes = self.max_body_bytes
            return await handle(checked)

        return strict


class BulkRoute(JsonRoute):
    """A route whose body holds many items: 10,000 questions, or a file of telemetry."""

    max_body_bytes: ClassVar[int] = 64 * MIB


def parse_strictly(body: bytes) -> Any:
    """JSON without NaN, infinities, NUL characters and half surrogates; a 400 says which was found."""
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError:
        raise  # FastAPI's own answer names the character
    except RecursionError:
        raise refuse(400, "the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise refuse(400, "the body is not UTF-8 text") from None
    except ValueError as error:
        raise refuse(400, f"the body holds a number that cannot be read: {error}") from None
    if b"\\u" in body:  # only an escape can bring these in: JSON refuses a bare control character
        _check_text(value)
    return value


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))


def _no_constant(word: str) -> NoReturn:
    raise refuse(400, f"the body holds {word}, which is not JSON; use null for a figure that is not known")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise refuse(400, f"the body holds {text:.40}, a number too large to keep")
    return number


def _check_text(value: object) -> None:
    # a list, not recursion: the parser's own depth limit may be larger than what is left of the stack here
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text:
                if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
                    raise HTTPException(400, "a text in the body holds a NUL or half a surrogate pair; remove it")
            case dict() as mapping:
                pending += [*mapping.keys(), *mapping.values()]
            case list() as items:
                pending += items
            case _:
                pass
