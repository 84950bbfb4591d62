"""Errors of the scheduler; each has a stable code, and one table in the API gives it an HTTP status."""

from __future__ import annotations

from uuid import UUID

from predictor.errors import PythiaError
from scheduler.domain.states import JobState


class InvalidSpec(PythiaError):
    """A job spec cannot be read or contradicts itself."""

    code = "invalid_spec"


class InvalidOffer(PythiaError):
    """An offer or a price file holds a line that cannot be true."""

    code = "invalid_offer"


class NothingToExport(PythiaError):
    """A plan cannot be written down for somebody else to carry out."""

    code = "nothing_to_export"


class IllegalTransition(PythiaError):
    """A job cannot go back to a state it has left."""

    code = "illegal_transition"

    def __init__(self, job_id: UUID, current: JobState, wanted: JobState) -> None:
        super().__init__(f"job {job_id} is {current}, cannot become {wanted}")
        self.job_id, self.current, self.wanted = job_id, current, wanted


class NotFound(PythiaError):
    """Nothing of that name exists for this tenant."""

    code = "not_found"

    def __init__(self, kind: str, key: object) -> None:
        super().__init__(f"no {kind} {key}")
        self.kind, self.key = kind, key


class Unauthorized(PythiaError):
    """The API key is missing or unknown."""

    code = "unauthorized"


class IdempotencyConflict(PythiaError):
    """An idempotency key was used before for another request."""

    code = "idempotency_conflict"


class Conflict(PythiaError):
    """What is to be made exists already."""

    code = "conflict"


class NotBetter(PythiaError):
    """A challenger does not predict better than the champion on held-out jobs."""

    code = "not_better"
