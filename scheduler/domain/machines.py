"""Machines that we rent: their states, and what a provider has charged for one after so many seconds.

A machine is metered in seconds since its provider opened it, by the provider's own clock. What each use of it costs
is the difference of what had been charged at its two ends, so that all uses and the idle times between them add up
to the provider's bill to the micro-dollar, whatever the increment and the minimum: whoever begins an hour that is
billed as a whole pays for it, and whoever finds it paid does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from scheduler.domain.settlement import Bill, bill


class MachineState(StrEnum):
    """Where a machine stands in its life."""

    REQUESTED = "requested"
    """Written down before the provider is asked."""
    PROVISIONING = "provisioning"
    READY = "ready"
    """It has come, and what it was ordered for has not begun."""
    BUSY = "busy"
    IDLE = "idle"
    RELEASING = "releasing"
    """Nothing will be started on it; the provider is being told."""
    GONE = "gone"


_GONE = frozenset({MachineState.RELEASING, MachineState.GONE})
MACHINE_MOVES: dict[MachineState, frozenset[MachineState]] = {
    MachineState.REQUESTED: frozenset({MachineState.PROVISIONING, MachineState.READY, MachineState.BUSY}) | _GONE,
    MachineState.PROVISIONING: frozenset({MachineState.READY, MachineState.BUSY}) | _GONE,
    MachineState.READY: frozenset({MachineState.BUSY, MachineState.IDLE}) | _GONE,
    MachineState.BUSY: frozenset({MachineState.IDLE}) | _GONE,
    MachineState.IDLE: frozenset({MachineState.READY, MachineState.BUSY}) | _GONE,
    MachineState.RELEASING: frozenset({MachineState.GONE}),
    MachineState.GONE: frozenset(),
}


def states_before(wanted: MachineState) -> tuple[MachineState, ...]:
    """The states from which a machine may go to the wanted one."""
    return tuple(state for state, moves in MACHINE_MOVES.items() if wanted in moves)


ON_ITS_WAY = (MachineState.REQUESTED, MachineState.PROVISIONING)
STANDING = (MachineState.READY, MachineState.BUSY, MachineState.IDLE)
"""The provider has said that it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a machine costs; frozen when it was ordered."""

    gpu_count: int
    micros_per_gpu_hour: int
    billing_increment_s: int
    minimum_s: int

    def charged(self, metered_s: float) -> Bill:
        """What the provider has charged `metered_s` seconds after it opened the machine."""
        return bill(
            metered_s,
            gpu_count=self.gpu_count,
            micros_per_gpu_hour=self.micros_per_gpu_hour,
            billing_increment_s=self.billing_increment_s,
            minimum_s=self.minimum_s,
        )

    def charge(self, from_s: float, to_s: float) -> Bill:
        """What the time between two readings of the meter has added; negative where the second is the earlier."""
        before, after = self.charged(from_s), self.charged(to_s)
        return Bill(billed_s=after.billed_s - before.billed_s, cost_micros=after.cost_micros - before.cost_micros)


def split(piece: Bill, among: int) -> list[Bill]:
    """A bill in equal parts, the first of them a micro-dollar or a second larger where it does not come out even."""
    return [
        Bill(
            billed_s=piece.billed_s // among + (place < piece.billed_s % among),
            cost_micros=piece.cost_micros // among + (place < piece.cost_micros % among),
        )
        for place in range(among)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Two readings of a machine's meter around one use of it, seconds since the provider opened it."""

    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine as the database knows it. Seconds are the provider's."""

    id: UUID
    tenant_id: UUID
    key: str
    """Names it at the provider: asked again with the same key, a provider gives the same machine."""
    state: MachineState
    backend: str
    account: str
    """Where the backend holds it: only workers of that account can see it."""
    offer_id: UUID
    provider: str
    region: str
    gpu_type: str
    spot: bool
    provision_s: float
    tariff: Tariff
    attempt_id: UUID | None
    """What it is ordered for, or busy with."""
    metered_s: float
    """Up to where its time is in the ledger."""
    billed_micros: int
    """What is in the ledger."""
