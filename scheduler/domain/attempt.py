"""One try at running a job: what a worker is handed, and what it reports when the try has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from predictor.layout import Layout
from scheduler.domain.machines import Machine, Meter
from scheduler.domain.runtime_limit import RuntimeLimit, runtime_limit
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import AttemptState, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptWork:
    """An attempt as its worker sees it. Whoever holds the lease token may act on it."""

    attempt_id: UUID
    job_id: UUID
    tenant_id: UUID
    number: int
    """1 for the first try of the job."""
    state: AttemptState
    lease_token: UUID
    spec: JobSpec
    backend: str
    offer_id: UUID
    provider: str
    region: str
    instance_type: str = ""
    """What the offer calls its machines; a provider's own name for them."""
    node_gpus: int = 1
    """Of one such machine."""
    gpu_type: str
    gpu_count: int
    layout: Layout
    spot: bool
    provision_s: float
    forecast: Mapping[str, Any]
    """The chosen candidate's forecast in the contract's form, frozen when it was placed."""
    handle: Mapping[str, Any] | None
    """Where the backend starts, or has started, the command; None while it is only claimed."""
    machine: Machine | None
    """What it runs on; None while it waits for one."""
    collected: Mapping[str, int]
    """Bytes of each stream that are kept already: where the next collection begins."""
    cancel_requested: bool
    claimed_at: datetime
    running_at: datetime | None
    seen_at: datetime | None
    card_id: UUID | None = None
    """The card that others may be on as well; None where it has its machine to itself."""

    @property
    def runtime_limit(self) -> RuntimeLimit | None:
        """How long its command may run."""
        return runtime_limit(self.spec.constraints, self.forecast)

    @property
    def usable_vram_gib(self) -> float | None:
        """Of each GPU of the placement; None where there is no device memory."""
        usable: float | None = self.forecast.get("usable_vram_gib")
        return usable


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptGlance:
    """As much of a running attempt as it takes to see that nothing has changed."""

    attempt_id: UUID
    lease_token: UUID
    state: AttemptState
    backend: str
    handle: Mapping[str, Any]
    cancel_requested: bool
    claimed_at: datetime
    collected: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """How a try ended, as its backend measured it."""

    outcome: Outcome
    exit_code: int | None = None
    reason: str | None = None
    """One sentence, for outcomes that need one."""
    runtime_s: float | None = None
    """Of the command alone; the provider's virtual time on the simulated backend."""
    used_s: float | None = None
    """How long the machine was held, provisioning and start-up included: what is billed where there is no meter. None:
    the wall clock since the claim."""
    meter: Meter | None = None
    """The provider's own clock at both ends of the use."""
    machine_gone: bool = False
    """The machine went with it, or must not be used again."""
    peak_vram_gib: float | None = None
    """On the fullest GPU."""
    vram_metric: str | None = None
    """driver, reserved, allocated or preallocated."""
    peak_allocated_gib: float | None = None
    """A second reading, of the tensors alone, where the job itself reports it."""
    peak_rss_gib: float | None = None
    """Host memory of the whole process tree."""
    simulated: bool
    """Any figure here was drawn, not measured; marked for good."""
    command_ran: bool = True
    """False where a simulated provider was asked to leave the command: then every figure was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """A piece of what an attempt printed."""

    stream: str
    """stdout or stderr"""
    offset: int
    """Bytes of the stream before this piece."""
    size: int
    """Bytes of the stream in this piece; its text may have more or fewer, where they were not UTF-8."""
    text: str
