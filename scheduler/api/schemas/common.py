"""What bodies share: money, pages, the base of everything sent."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

Usd = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", description="Dollars as decimal text", examples=["10.42"])]


class Out(BaseModel):
    """Something we send; a field that has nothing to say is null, never absent."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Page(Out, Generic[T]):
    """Some of a list, newest first, and where the rest begins."""

    items: list[T]
    next: str | None = Field(description="Give it as `after` for the following page; null on the last one")


class Problem(Out):
    """Why a request was not done."""

    type: str = Field(description="A URN made of the code", examples=["urn:pythia:invalid_spec"])
    title: str = Field(description="The HTTP status in words", examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(
        description="One sentence for a person, saying what to do",
        examples=["workload: give exactly one of num_steps, num_samples and num_tokens; none of them was given"],
    )
    code: str = Field(description="A stable word for a program", examples=["invalid_spec"])
    instance: str = Field(description="The path that was asked for", examples=["/v1/jobs"])
