"""Submissions as they are answered: the JSON of `SubmittedOut`, written without making the models of it.

A decision is answered with a hundred candidates, in the form in which they are stored. As models they would be made,
checked, and turned into JSON once more for every job. A test holds both ways of writing to each other.
"""

from __future__ import annotations

from fastapi import Response
from pydantic_core import to_json

from scheduler.api import present
from scheduler.services.submit import Submitted


def submitted(taken: Submitted) -> Response:
    """A job just taken, with the decision made for it."""
    job = taken.job
    head = {**present.summary_fields(job), "spec": job.spec, "queue": None}
    decision = present.decision_fields(taken.decision)
    # each body ends with the brace that belongs behind what follows
    body = b"".join((
        to_json(head)[:-1], b',"decision":', to_json(decision)[:-1], b',"candidates":',
        taken.decision.candidates.json.encode(), b"}}",
    ))  # fmt: skip
    headers = {"Location": f"/v1/jobs/{job.id}"} | ({"Idempotency-Replayed": "true"} if taken.replayed else {})
    return Response(body, 201, headers=headers, media_type="application/json")
