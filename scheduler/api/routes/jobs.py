"""Submit, list, read and cancel jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import AfterValidator

from predictor.errors import PythiaError
from scheduler.api import answers, present
from scheduler.api.context import Context, Tenant
from scheduler.api.examples import JOB_SPECS
from scheduler.api.problems import problem_of, responses
from scheduler.api.schemas.common import Page, Problem
from scheduler.api.schemas.jobs import BatchItemOut, BatchOut, JobOut, JobSummary, SubmittedOut
from scheduler.api.strict_json import BulkRoute, JsonRoute
from scheduler.domain.spec import JobSpec, parse_job_spec
from scheduler.domain.states import JobState
from scheduler.services import jobs
from scheduler.services.cancel import cancel_job
from scheduler.services.queue_places import queue_place
from scheduler.services.submit import Submitted, submit_job
from scheduler.services.submit_batch import Item, submit_jobs
from scheduler.storage.views import Listed

router = APIRouter(tags=["jobs"], route_class=JsonRoute)
bulk = APIRouter(tags=["jobs"], route_class=BulkRoute)

MOST_IN_A_BATCH = 1000


def _key_value(text: str) -> str:
    if not text.partition("=")[1]:
        raise ValueError("write it as key=value")
    return text


IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="The same key with the same spec submits the job only once; with another spec it is a 409",
    ),
]


@router.post(
    "/jobs", status_code=201, summary="Submit a job", responses=responses(409, 413, 415), response_model=SubmittedOut
)
def submit(
    spec: Annotated[JobSpec, Body(openapi_examples=JOB_SPECS)],
    context: Context,
    tenant: Tenant,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Decide where a job runs and hand it on. 201 whatever was decided: a placement, a wait, or a refusal."""
    taken = submit_job(
        context.engine, context.knowledge, spec, tenant_id=tenant, now=context.clock(), idempotency_key=idempotency_key
    )
    return answers.submitted(taken)


@bulk.post("/jobs:batch", status_code=201, summary="Submit up to 1,000 jobs", responses=responses(413, 415))
def submit_batch(
    specs: Annotated[
        list[dict[str, Any]],
        Body(min_length=1, max_length=MOST_IN_A_BATCH, description="Job specs, as POST /v1/jobs takes them"),
    ],
    context: Context,
    tenant: Tenant,
    idempotency_key: IdempotencyKey = None,
) -> BatchOut:
    """Submit each spec by itself: one that cannot be read is a problem of its own and keeps no other from being taken.

    Of each decision only the first candidate is sent back: the chosen one, or the nearest miss. With an
    Idempotency-Key, each item has the key `KEY:index`, so that a batch that broke off can be sent again.
    """
    items: dict[int, BatchItemOut] = {}
    asked: dict[int, Item] = {}
    for index, raw in enumerate(specs):
        try:
            asked[index] = Item(parse_job_spec(raw), f"{idempotency_key}:{index}" if idempotency_key else None)
        except PythiaError as error:
            items[index] = _item(index, error)
    done = submit_jobs(context.engine, context.knowledge, list(asked.values()), tenant_id=tenant, now=context.clock())
    items |= {index: _item(index, one) for index, one in zip(asked, done, strict=True)}
    refused = sum(item.problem is not None for item in items.values())
    return BatchOut(accepted=len(items) - refused, refused=refused, items=[items[index] for index in sorted(items)])


def _item(index: int, done: Submitted | PythiaError) -> BatchItemOut:
    if isinstance(done, PythiaError):
        problem = Problem(**problem_of(done, "/v1/jobs:batch"))
        return BatchItemOut(index=index, status=problem.status, job=None, problem=problem)
    # a thousand decisions with all their candidates would be a hundred megabytes; they are at /v1/jobs/{id}/decisions
    made = replace(done.decision, candidates=Listed(done.decision.candidates[:1]))
    return BatchItemOut(index=index, status=201, job=present.submitted(done.job, made), problem=None)


@router.get("/jobs", summary="List jobs")
def list_jobs(
    context: Context,
    tenant: Tenant,
    state: Annotated[list[JobState] | None, Query(description="Only these states")] = None,
    label: Annotated[
        list[Annotated[str, AfterValidator(_key_value)]] | None,
        Query(description="Only jobs with all these labels, each as key=value", examples=["team=support"]),
    ] = None,
    name: Annotated[str | None, Query(description="Only jobs of exactly this name")] = None,
    after: Annotated[UUID | None, Query(description="Continue behind this job: `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Page[JobSummary]:
    """Jobs, newest first."""
    found = jobs.list_jobs(
        context.engine,
        tenant,
        states=state or (),
        name=name,
        labels={key: value for key, _, value in (one.partition("=") for one in label or ())},
        before=after,
        limit=limit,
    )
    more = str(found[-1].id) if len(found) == limit else None
    return Page(items=[present.job_summary(one) for one in found], next=more)


@router.get("/jobs/{job_id}", summary="Read a job", responses=responses(404))
def read_job(job_id: UUID, context: Context, tenant: Tenant) -> JobOut:
    """One job as it stands; while it waits, with its place in the queue and the predicted start."""
    job = jobs.get_job(context.engine, tenant, job_id)
    now = context.clock()
    place = queue_place(context.engine, job_id, now=now) if job.state is JobState.QUEUED else None
    return present.job(job, None if place is None else present.queue(place, now))


@router.delete("/jobs/{job_id}", summary="Cancel a job", responses=responses(404))
def cancel(job_id: UUID, context: Context, tenant: Tenant) -> JobOut:
    """Ask for a job to be stopped. It stays `cancelling` until what runs has stopped; asking again changes nothing."""
    return present.job(cancel_job(context.engine, tenant, job_id, now=context.clock()))
