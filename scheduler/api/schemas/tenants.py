"""Tenants, as sent and as received."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scheduler.api.schemas.common import Out, Usd

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Share = Annotated[
    float, Field(gt=0, le=1e6, allow_inf_nan=False, description="Of two who wait, twice the share gets twice as much")
]
Gpus = Annotated[int, Field(ge=0, le=1_000_000, description="Held at once; null is no limit")]
Spend = Annotated[
    Decimal, Field(ge=0, le=Decimal(10**9), decimal_places=6, description="In a calendar month (UTC); null is no limit")
]
ShareCards = Annotated[
    bool, Field(description="Whether several of its jobs may be put on one card, where the forecast says that they fit")
]


class TenantIn(BaseModel):
    """A tenant to make."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    share: Share = 1.0
    max_gpus: Gpus | None = None
    max_usd_per_month: Spend | None = None
    share_cards: ShareCards = False


class TenantChange(BaseModel):
    """What may change of a tenant; a field that is absent stays as it is, null lifts a quota."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: Share = 1.0
    max_gpus: Gpus | None = None
    max_usd_per_month: Spend | None = None
    share_cards: ShareCards = False

    @model_validator(mode="after")
    def _something(self) -> TenantChange:
        if not self.model_fields_set:
            raise ValueError("nothing to change; give share, max_gpus, max_usd_per_month or share_cards")
        return self


class TenantOut(Out):
    """A tenant with its share and quotas."""

    id: UUID
    name: str
    share: float
    max_gpus: int | None
    max_usd_per_month: Usd | None
    share_cards: ShareCards
    created_at: datetime


class TenantUseOut(TenantOut):
    """A tenant with what counts against it now."""

    gpus: int = Field(description="Held now")
    usd_this_month: Usd = Field(description="Spent, with what live attempts may yet cost at p90")
    gpu_hours_of_a_day: float = Field(
        description="Held over the last 24 hours: the less per share, the sooner it is next"
    )


class KeyIn(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = "default"


class KeyOut(Out):
    """A key, shown this once."""

    tenant: str
    key: str


class QueueOut(Out):
    """Where a waiting job stands, and when it may be expected to start."""

    position: int = Field(description="1 is next")
    waiting: int = Field(description="All who wait")
    starts_at_p10: datetime | None = Field(description="Sooner than this in one case of ten; null where nobody can say")
    starts_at_p50: datetime | None
    starts_at_p90: datetime | None
    reserved_start_at: datetime | None = Field(description="Held for it: nobody of lower standing may delay it")
