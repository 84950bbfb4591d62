"""Secrets, as received and as shown: a value comes in and never goes out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from scheduler.api.schemas.common import Out


def _text(value: Any) -> Any:
    # said here, since pydantic's own sentence about a wrong type shows what was sent
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


class SecretIn(BaseModel):
    """The value of a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Annotated[str, BeforeValidator(_text), Field(repr=False, description="1 to 32,768 bytes of text")]


class SecretOut(Out):
    """That a secret is there."""

    name: str = Field(description="Jobs ask for it as `run.secrets: {VARIABLE: name}`")
    created_at: datetime
    updated_at: datetime
