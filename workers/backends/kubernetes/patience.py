"""Ask a server once more where its failure may pass, and say in one sentence what it was where it did not.

A look makes several calls and none may hold it up for long: it is repeated anyway, so what lasts longer than a moment
is left to the next one. A look that outlasts its lease all the same does no harm: another goes ahead, every call may be
repeated, and what both find out is written down once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx2
from lightkube.core.exceptions import ConfigError

from workers.backends.base import ProviderUnavailable
from workers.backends.words import line

T = TypeVar("T")

CONNECT_S, TIMEOUT_S = 2.0, 4.0
"""Of reaching the server and again of agreeing on a cipher; of sending, and of each wait for a piece of the answer."""
LAST_TRY_S = 7.0
"""Of all tries of a call, none begins later than so long after the first. With the four waits of that one it is over
within the lease of a look; longer may take only what comes in many pieces, and a list of several pages."""
_TRIES, _FIRST_REST_S = 3, 0.2
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


def asked(
    call: Callable[[], T],
    *,
    clock: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> T:
    """An answer, after a few tries where the failure may pass. Every call that we make may be repeated."""
    last_try_at, rest_s, tries = clock() + LAST_TRY_S, _FIRST_REST_S, 1
    while True:
        try:
            return call()
        except httpx2.HTTPStatusError as error:
            status = error.response.status_code
            problem, may_pass = f"the cluster answered {status}: {said(error)}", status in _PASSING
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            problem, may_pass = f"the cluster cannot be reached: {line(error)}", True
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            # no credentials, or an answer that is no Kubernetes object: something else listens there
            problem, may_pass = f"the cluster cannot be asked: {line(error)}", False
        if not may_pass or tries == _TRIES or clock() + rest_s > last_try_at:
            raise ProviderUnavailable(problem)
        rest(rest_s)
        rest_s, tries = rest_s * 2, tries + 1


def found(call: Callable[[], T]) -> T | None:
    """An answer, or None for an object that is not there."""

    def once() -> T | None:
        try:
            return call()
        except httpx2.HTTPStatusError as error:
            if error.response.status_code == 404:
                return None
            raise

    return asked(once)


def said(error: httpx2.HTTPStatusError) -> str:
    """The server's own sentence, where it gave one."""
    try:
        body = error.response.json()
    except (ValueError, httpx2.HTTPError):
        body = None
    sentence = body.get("message") if isinstance(body, dict) else None
    return line(sentence or error.response.reason_phrase or "no reason given")
