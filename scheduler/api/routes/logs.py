"""What a job printed, as a page or as it prints it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.sse import format_sse_event

from scheduler.api import present
from scheduler.api.context import ApiContext, Context, Tenant
from scheduler.api.following import LOOK_S
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.jobs import LogChunkOut
from scheduler.api.strict_json import JsonRoute
from scheduler.services import jobs
from scheduler.storage.views import LogView

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=JsonRoute)

CHUNKS_A_PAGE = 100
CHUNKS_AT_ONCE = 16
"""Read ahead for a follower: a megabyte at most, however slowly it reads and however many follow."""
PING_S = 15.0
"""Silence after which a comment is sent: proxies cut connections on which nothing moves."""

UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""The second is what nginx asks for before it passes on what comes as it comes."""
NEWEST_ID = 2**63 - 1
LONGEST_ID = len(str(NEWEST_ID))

Position = Annotated[int, Query(ge=0, le=NEWEST_ID)]


@router.get(
    "/logs",
    summary="What a job printed",
    response_model=Page[LogChunkOut],
    responses={
        **responses(404, 429),
        200: {
            "description": "A page; with follow=true a stream of events named `log`, and `end` when the job has ended",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
    },
)
def read_logs(
    job_id: UUID,
    context: Context,
    tenant: Tenant,
    follow: Annotated[bool, Query(description="Send what is printed as it is collected, until the job ends")] = False,
    after: Annotated[Position, Query(description="Continue behind this chunk's id")] = 0,
    last_event_id: Annotated[str | None, Header(description="Where a broken stream goes on")] = None,
) -> Response:
    """What every attempt printed, in the order it was collected."""
    if follow:
        context.followers.check(tenant)
        jobs.get_job(context.engine, tenant, job_id)  # a 404 must come before the stream has begun
        known = last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) <= LONGEST_ID
        begin = int(last_event_id or after) if known else after
        stream = _follow(context, tenant, job_id, min(begin, NEWEST_ID))
        return StreamingResponse(stream, media_type="text/event-stream", headers=UNBUFFERED)
    chunks = jobs.read_logs(context.engine, tenant, job_id, after=after, limit=CHUNKS_A_PAGE)
    more = str(chunks[-1].id) if len(chunks) == CHUNKS_A_PAGE else None
    page = Page[LogChunkOut](items=[present.log_chunk(chunk) for chunk in chunks], next=more)
    return JSONResponse(page.model_dump(mode="json"))


async def _follow(context: ApiContext, tenant: UUID, job_id: UUID, after: int) -> AsyncIterator[bytes]:
    # Asynchronous, unlike every other handler: a thread for each follower would leave none for the others.
    # Nothing is held while we wait, be it for output or for a reader that takes none.
    engine = context.engine
    with context.followers.following(tenant, job_id):
        silent_since = time.monotonic()
        while True:
            # state and last chunk at one moment: what was printed before the end is in the chunks up to that one
            progress = await context.followers.look(engine, job_id)
            while after < progress.last_log_id:
                chunks = await run_sync(_read, context, tenant, job_id, after)
                if not chunks:
                    break  # forgotten meanwhile
                for chunk in chunks:
                    after = chunk.id
                    data = present.log_chunk(chunk).model_dump_json()
                    yield format_sse_event(data_str=data, event="log", id=str(chunk.id))
                silent_since = time.monotonic()
            if progress.ended:
                yield format_sse_event(data_str="{}", event="end")
                return
            if time.monotonic() - silent_since >= PING_S:
                silent_since = time.monotonic()
                yield format_sse_event(comment="still running")
            await anyio.sleep(LOOK_S)


def _read(context: ApiContext, tenant: UUID, job_id: UUID, after: int) -> list[LogView]:
    return jobs.read_logs(context.engine, tenant, job_id, after=after, limit=CHUNKS_AT_ONCE)
