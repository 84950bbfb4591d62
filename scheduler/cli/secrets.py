"""`pythia secrets`: values that jobs may ask for; they come from stdin or a file, since every user sees arguments."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit
from scheduler.cli.wording import columns, moment

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True,
    help="Secrets for jobs: set, list, delete. No command shows a value.",
)  # fmt: skip

Name = Annotated[str, typer.Argument(metavar="NAME", help="As jobs name it in run.secrets.")]


@app.command("set")
def set_secret(
    name: Name,
    file: Annotated[Path | None, typer.Option(help="Take the value from this file, as it is.")] = None,
    as_json: AsJson = False,
) -> None:
    """Store a value that is read from stdin (without its last line break), or from a file; an old one is replaced."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    value = _value(name, file)
    with connect() as server:
        stored = server.put(_path(name), {"value": value})
    emit(stored, f"stored {stored['name']}", as_json=as_json)


@app.command("list")
def list_secrets(as_json: AsJson = False) -> None:
    """List the names of what is stored."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    items: list[Mapping[str, Any]] = []
    after: str | None = None
    with connect() as server:
        while True:
            page = server.get("/v1/secrets", after=after, limit=1000)
            items += page["items"]
            if (after := page["next"]) is None:
                break
    rows = [(one["name"], moment(one["created_at"]), moment(one["updated_at"])) for one in items]
    text = "\n".join(columns(("NAME", "STORED", "CHANGED"), rows)) if rows else "no secret is stored"
    emit({"items": items}, text, as_json=as_json)


@app.command()
def delete(name: Name, as_json: AsJson = False) -> None:
    """Forget a value; a job that asks for it and has not begun will fail."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        server.call("DELETE", _path(name))
    emit({"deleted": name}, f"deleted {name}", as_json=as_json)


def _path(name: str) -> str:
    return f"/v1/secrets/{quote(name, safe='')}"


def _value(name: str, file: Path | None) -> str:
    try:
        if file is not None:
            return file.read_text(encoding="utf-8")
        if sys.stdin.isatty():
            return getpass(f"value of {name}: ")
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(
            "the value is not UTF-8 text; encode it, as with base64, and decode it in the job"
        ) from None
