"""Search what jobs printed."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.logs import LogHitOut
from scheduler.api.strict_json import JsonRoute
from scheduler.services import log_search

router = APIRouter(tags=["jobs"], route_class=JsonRoute)

LONGEST_BACK = timedelta(days=36_500)


@router.get("/logs", summary="Search what jobs printed", responses=responses(404))
def search_logs(
    context: Context,
    tenant: Tenant,
    search: Annotated[
        str,
        Query(
            min_length=2,
            max_length=200,
            pattern=r"^[^\r\n]*$",
            examples=["CUDA out of memory"],
            description="Part of a line, whatever the case of its ASCII letters",
        ),
    ],
    since: Annotated[AwareDatetime | None, Query(description="Only what was collected from then on")] = None,
    job: Annotated[UUID | None, Query(description="Only what this job printed")] = None,
    after: Annotated[int, Query(ge=1, le=2**63 - 1, description="`next` of the page before")] = log_search.NEWEST,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[LogHitOut]:
    """Pieces of output with the lines that were looked for, newest first.

    What an attempt printed can be searched for a week after its end. One page looks into 64 MiB at most: it may be
    empty and still name a `next`.
    """
    found = log_search.search_logs(
        context.engine,
        tenant,
        search,
        since=context.clock() - LONGEST_BACK if since is None else since.astimezone(UTC),
        before=after,
        limit=limit,
        job_id=job,
    )
    items = [
        LogHitOut(
            id=hit.piece.id,
            job_id=hit.piece.job_id,
            job=hit.piece.job,
            attempt_id=hit.piece.attempt_id,
            attempt=hit.piece.attempt,
            stream=hit.piece.stream,
            offset=hit.piece.offset,
            collected_at=hit.piece.collected_at,
            lines=list(hit.lines),
            count=hit.count,
        )
        for hit in found.hits
    ]
    return Page(items=items, next=None if found.next is None else str(found.next))
