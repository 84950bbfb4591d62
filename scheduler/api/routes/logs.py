"""What a job printed, as a page or as it prints it."""

from __future__ import annotations

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
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.jobs import LogChunkOut
from scheduler.api.strict_json import JsonRoute
from scheduler.domain.states import FINAL_JOB_STATES
from scheduler.services import jobs
from scheduler.storage.views import LogView

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=JsonRoute)

CHUNKS_A_PAGE = 500
LOOK_S = 0.3
PING_S = 15.0
"""Silence after which a comment is sent: proxies cut connections on which nothing moves."""

Position = Annotated[int, Query(ge=0, le=2**63 - 1)]


@router.get(
    "/logs",
    summary="What a job printed",
    response_model=Page[LogChunkOut],
    responses={
        **responses(404),
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
        jobs.get_job(context.engine, tenant, job_id)  # a 404 must come before the stream has begun
        begin = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        stream = _follow(context, tenant, job_id, min(begin, 2**63 - 1))
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    chunks = jobs.read_logs(context.engine, tenant, job_id, after=after, limit=CHUNKS_A_PAGE)
    more = str(chunks[-1].id) if len(chunks) == CHUNKS_A_PAGE else None
    page = Page[LogChunkOut](items=[present.log_chunk(chunk) for chunk in chunks], next=more)
    return JSONResponse(page.model_dump(mode="json"))


async def _follow(context: ApiContext, tenant: UUID, job_id: UUID, after: int) -> AsyncIterator[bytes]:
    # Asynchronous, unlike every other handler: a thread for each follower would leave none for the others.
    # Each look is one short transaction; nothing is held while we wait.
    silent = 0.0
    while True:
        ended, chunks = await run_sync(_look, context, tenant, job_id, after)
        for chunk in chunks:
            after = chunk.id
            data = present.log_chunk(chunk).model_dump_json()
            yield format_sse_event(data_str=data, event="log", id=str(chunk.id))
        if ended and not chunks:
            yield format_sse_event(data_str="{}", event="end")
            return
        if len(chunks) < CHUNKS_A_PAGE and not ended:
            silent = 0.0 if chunks else silent + LOOK_S
            if silent >= PING_S:
                silent = 0.0
                yield format_sse_event(comment="still running")
            await anyio.sleep(LOOK_S)


def _look(context: ApiContext, tenant: UUID, job_id: UUID, after: int) -> tuple[bool, list[LogView]]:
    # the state first: what was printed before the end is then in the chunks that follow it
    ended = jobs.get_job(context.engine, tenant, job_id).state in FINAL_JOB_STATES
    return ended, jobs.read_logs(context.engine, tenant, job_id, after=after, limit=CHUNKS_A_PAGE)
