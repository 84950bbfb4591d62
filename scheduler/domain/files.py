"""Files that a job wants before it runs and leaves behind: where they are, and where they may be put."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from scheduler.domain.file_names import GLOB


def _inside(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise ValueError("must be a path below the working directory, without '..' and no '/' in front")
    if "\0" in path:
        raise ValueError("holds a NUL character; remove it")
    return path


def _url(url: str) -> str:
    if not re.fullmatch(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,254}/[^\0]{0,1024}", url):
        raise ValueError("must look like s3://bucket/folder/file, or s3://bucket/folder/ for all below it")
    return url


Inside = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_inside)]
Url = Annotated[str, Field(max_length=1300, examples=["s3://bucket/folder/file"]), AfterValidator(_url)]


class _File(BaseModel):
    # a word of Python's in the spec: it is `from` there, in both directions
    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


class FileIn(_File):
    """What is there before the command starts."""

    source: Url = Field(alias="from", description="A file, or everything below a folder that ends with '/'")
    to: Inside = Field(description="Below the working directory; ends with '/' where it names a folder")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, description="Refuse a file with another content; of one file only"
    )

    @model_validator(mode="after")
    def _one_file(self) -> FileIn:
        if self.sha256 is not None and self.source.endswith("/"):
            raise ValueError("sha256 is of one file, but from ends with '/'; name the file or drop sha256")
        return self


class FileOut(_File):
    """What is kept when the command has ended."""

    source: Inside = Field(
        alias="from", description="A file, a folder, or a pattern with *, ? and ** (folders between), as in out/*.pt"
    )
    to: Url

    @model_validator(mode="after")
    def _many_files(self) -> FileOut:
        if GLOB & set(self.source) and not self.to.endswith("/"):
            raise ValueError("from is a pattern for several files, so to must end with '/'")
        return self
