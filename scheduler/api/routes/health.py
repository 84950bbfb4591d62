"""Whether we live, whether we can work, and in numbers how it goes. These calls ask for no key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Response
from pydantic import Field

from scheduler.api.context import Context
from scheduler.api.schemas.common import Out
from scheduler.domain.states import AttemptState, JobState
from scheduler.services.gauges import count_all
from scheduler.services.memory import Memory
from scheduler.storage.engine import database_answers
from scheduler.storage.gauges import Gauges

router = APIRouter(tags=["health"])

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Alive(Out):
    """The process answers."""

    status: str = Field(examples=["alive"])


class Ready(Out):
    """Whether jobs can be placed (database) and dispatched (broker)."""

    ready: bool
    database: bool
    broker: bool


@router.get("/healthz", summary="Alive")
def healthz() -> Alive:
    """Answers as long as the process does; it looks at nothing else."""
    return Alive(status="alive")


@router.get("/readyz", summary="Able to place and dispatch", responses={503: {"model": Ready}})
def readyz(context: Context, response: Response) -> Ready:
    """200 if the database and the broker both answer, 503 otherwise."""
    database, broker = database_answers(context.engine), context.broker_answers()
    response.status_code = 200 if database and broker else 503
    return Ready(ready=database and broker, database=database, broker=broker)


@router.get(
    "/metrics",
    summary="Gauges for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(context: Context) -> Response:
    """Counts of jobs, attempts, capacity, unsent doorbells and observations, read from the database now."""
    lines = [*_lines(count_all(context.engine, now=context.clock())), *_of_this_process(context.knowledge.memory)]
    return Response("\n".join(lines) + "\n", media_type=PROMETHEUS)


def _lines(gauges: Gauges) -> Iterator[str]:
    yield from _by_state("pythia_jobs", "Jobs by state", gauges.jobs, [str(state) for state in JobState])
    live = [str(state) for state in AttemptState if state is not AttemptState.ENDED]
    yield from _by_state("pythia_live_attempts", "Attempts that have not ended", gauges.live_attempts, live)
    for name, help_text, value in (
        ("pythia_capacity_gpus", "GPUs of all enabled offers", gauges.capacity_gpus),
        ("pythia_reserved_gpus", "GPUs held for attempts", gauges.reserved_gpus),
        ("pythia_unsent_doorbells", "Messages that wait for the relay", gauges.unsent_doorbells),
        ("pythia_oldest_unsent_seconds", "Age of the message that has waited longest", gauges.oldest_unsent_s),
        ("pythia_observations", "Measurements kept", gauges.observations),
        ("pythia_forgotten_machines", "Machines given back that are in no ledger", gauges.forgotten_machines),
    ):
        yield f"# HELP {name} {help_text}"
        yield f"# TYPE {name} gauge"
        yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _of_this_process(memory: Memory) -> Iterator[str]:
    for name, help_text, value in (
        ("pythia_forecasts_remembered_total", "Decisions of this process whose forecasts were known", memory.hits),
        ("pythia_forecasts_made_total", "Decisions of this process whose forecasts had to be made", memory.misses),
    ):
        yield f"# HELP {name} {help_text}"
        yield f"# TYPE {name} counter"
        yield f"{name} {value}"


def _by_state(name: str, help_text: str, counts: Mapping[str, int], states: list[str]) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} gauge"
    for state in states:  # zeroes too: a series that comes and goes cannot be alerted on
        yield f'{name}{{state="{state}"}} {counts.get(state, 0)}'
