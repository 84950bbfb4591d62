"""The `pythia` command: a table of commands, loaded when called, and what their errors become.

Each row names a function with Typer annotations, or a `typer.Typer` with subcommands. Their modules
import what is heavy inside the function, so that `pythia --help` and `pythia predict` start at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.main import get_command as to_click
from typer.main import get_group

from predictor.errors import PythiaError

COMMANDS: Mapping[str, str] = {
    "up": "scheduler.cli.up:up",
    "demo": "scheduler.cli.demo:demo",
    "plan": "scheduler.cli.plan:plan",
    "export": "scheduler.cli.export:export",
    "submit": "scheduler.cli.submit:submit",
    "jobs": "scheduler.cli.jobs:jobs",
    "job": "scheduler.cli.jobs:job",
    "logs": "scheduler.cli.logs:logs",
    "cancel": "scheduler.cli.jobs:cancel",
    "pools": "scheduler.cli.billing:pools",
    "billing": "scheduler.cli.billing:billing",
    "explain": "scheduler.cli.explain:explain",
    "offers": "scheduler.cli.offers:offers",
    "import-offers": "scheduler.cli.offers:import_offers",
    "offer-slurm": "scheduler.cli.offer_slurm:offer_slurm",
    "prices": "scheduler.cli.prices:app",
    "import-observations": "scheduler.cli.observations:import_observations",
    "secrets": "scheduler.cli.secrets:app",
    "tenants": "scheduler.cli.tenants:app",
    "models": "scheduler.cli.models:app",
    "worker": "scheduler.cli.worker:worker",
    "db": "scheduler.cli.db:app",
    "predict": "scheduler.cli.predict:predict",
    "train": "scheduler.cli.train:train",
    "evaluate": "scheduler.cli.evaluate:evaluate",
    "economics": "scheduler.cli.economics:app",
    "replay": "scheduler.cli.replay:replay",
    "measure": "scheduler.cli.measure:measure",
}

EXIT_BAD_INPUT = 2
EXIT_UNEXPECTED = 70
"""EX_SOFTWARE of sysexits.h: the fault is ours."""
EXIT_INTERRUPTED = 130


class _Commands(Mapping[str, Any]):
    """The commands by name; a module is imported when its command is asked for."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = COMMANDS[name].partition(":")
        target = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            single = _typer()
            single.command(name=name)(target)
            target = single
        command = to_click(target)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _typer() -> typer.Typer:
    # plain text: rich costs 100 ms at each start and its boxes do not survive a pipe
    return typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(version("pythia-scheduler"))
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Tell Pythia the job; it says how much VRAM, how long and how much money, runs it, and learns."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one sentence on stderr.

    A command leaves with `raise typer.Exit(code)`, with a `PythiaError` for input it cannot use, or normally.
    """
    root = _typer()
    root.callback(invoke_without_command=True)(_root)
    group = get_group(root)
    group.commands = cast("dict[str, Any]", _Commands())
    try:
        code = group.main(
            list(sys.argv[1:] if arguments is None else arguments), prog_name="pythia", standalone_mode=False
        )
    except typer.TyperException as error:
        typer.echo(f"pythia: {_one_line(error.format_message())}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except PythiaError as error:
        typer.echo(f"pythia: {error}", err=True)
        return EXIT_BAD_INPUT
    except Exception as error:
        if os.environ.get("PYTHIA_DEBUG"):
            raise
        what = _one_line(str(error))
        typer.echo(f"pythia: unexpected {type(error).__name__}: {what} (PYTHIA_DEBUG=1 shows where)", err=True)
        return EXIT_UNEXPECTED
    return code if isinstance(code, int) else 0


def _one_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[0]


def run() -> None:
    """The entry point of the installed command."""
    sys.exit(main())
