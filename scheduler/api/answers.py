"""Submissions as they are answered: the JSON of `SubmittedOut`, written without making the models of it.

A decision is answered with a hundred candidates. As models they would be made, checked, and turned into JSON for every
job; here they are written once for all decisions that share them. A test holds both ways of writing to each other.
"""

from __future__ import annotations

from fastapi import Response
from pydantic_core import to_json

from scheduler.api import present
from scheduler.services.memory import Candidates, Memory
from scheduler.services.submit import Submitted


def submitted(taken: Submitted, memory: Memory) -> Response:
    """A job just taken, with the decision made for it."""
    job = taken.job
    head = {**present.summary_fields(job), "spec": job.spec, "queue": None}
    decision = present.decision_fields(taken.decision)
    # each body ends with the brace that belongs behind what follows
    body = b"".join((
        to_json(head)[:-1], b',"decision":', to_json(decision)[:-1], b',"candidates":',
        _candidates(taken.decision.candidates, memory), b"}}",
    ))  # fmt: skip
    headers = {"Location": f"/v1/jobs/{job.id}"} | ({"Idempotency-Replayed": "true"} if taken.replayed else {})
    return Response(body, 201, headers=headers, media_type="application/json")


def _candidates(candidates: Candidates, memory: Memory) -> bytes:
    known = memory.shown.get(id(candidates))
    # an id is nobody else's as long as what has it is kept
    remembered = known is not None and known[0] is candidates
    if remembered and known is not None and known[1] is not None:
        return known[1]
    written = to_json([present.candidate_fields(one) for one in candidates])
    if remembered:
        memory.shown.put(id(candidates), (candidates, written))
    return written
