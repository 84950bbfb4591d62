"""What every command shares: the --json switch, the exit codes, and ids as people paste them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from predictor.errors import PythiaError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, as `pythia jobs` prints it.")]

EXIT_JOB_FAILED = 1
EXIT_REFUSED = 3


class InvalidArgument(PythiaError):
    """A command-line argument cannot be read."""

    code = "invalid_argument"


def emit(data: Any, text: str, *, as_json: bool) -> None:
    """Print the answer for a program or for a person."""
    typer.echo(json.dumps(data, ensure_ascii=False) if as_json else text)


def job_path(job_id: str, part: str = "") -> str:
    """A job's address; an id that is none is refused before anyone is asked."""
    try:
        return f"/v1/jobs/{UUID(job_id)}{part}"
    except ValueError:
        raise InvalidArgument(f"{job_id!r} is not a job's id; `pythia jobs` lists them") from None


def make_folder(option: str, folder: Path) -> Path:
    """A folder that an option names, made before the work whose results go there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InvalidArgument(f"{option} {folder} is a file; name a folder") from None
    except OSError as reason:
        raise InvalidArgument(f"{option} {folder} cannot be made ({reason.strerror}); name another folder") from None
    return folder
