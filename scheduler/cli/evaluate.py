"""`pythia evaluate`: errors and coverage on held-out groups beside arithmetic alone, and a report to look into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit, make_folder

if TYPE_CHECKING:
    from predictor.evaluation.ablations import Each
    from predictor.evaluation.scores import Score
    from predictor.telemetry import Observation


def evaluate(
    observations: Annotated[
        Path, typer.Option("--observations", metavar="DIR", help="Folder or file of observations.")
    ],
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Hold out by configuration, family, gpu_type or site; repeatable; default: all."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds and the trees.")] = 7,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write report.html, with plots, and report.json there."),
    ] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations/--no-ablations", help="Question each choice of the training in the report.")
    ] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave ablations and learning curve out of the report.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", min=1, help="Train so many folds of the report at a time.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Train without each group in turn and forecast it; whole trainings, so this takes minutes."""
    from predictor.architectures.catalogue import load_models  # noqa: PLC0415
    from predictor.evaluation.scores import evaluate as judge  # noqa: PLC0415
    from predictor.evaluation.scores import score_table  # noqa: PLC0415
    from predictor.hardware import load_gpu_types  # noqa: PLC0415
    from predictor.learned.folds import GROUPINGS  # noqa: PLC0415
    from predictor.telemetry_files import read_telemetry  # noqa: PLC0415

    unknown = sorted(set(by or ()) - set(GROUPINGS))
    if unknown:
        raise InvalidArgument(f"--by {unknown[0]} is unknown; hold out by {', '.join(GROUPINGS)}")
    if report is not None:
        make_folder("--report", report)
    reading = read_telemetry(observations, load_models(), load_gpu_types())
    groupings = tuple(by or GROUPINGS)
    if report is None:
        scores: Sequence[Score] = judge(reading.observations, seed=seed, groupings=groupings)
    else:
        scores = _report(
            reading.observations, report, seed=seed, groupings=groupings, ablate=ablations and not quick,
            curve=not quick, processes=processes,
        )  # fmt: skip
    text = "\n".join(score_table(scores)) or "Too few observations of training or inference to hold any out."
    emit([score.to_json() for score in scores], text, as_json=as_json)


def _report(
    observations: Sequence[Observation],
    folder: Path,
    *,
    seed: int,
    groupings: Sequence[str],
    ablate: bool,
    curve: bool,
    processes: int,
) -> Sequence[Score]:
    from predictor.evaluation.page import write_report  # noqa: PLC0415
    from predictor.evaluation.pictures import can_plot, pictures  # noqa: PLC0415
    from predictor.evaluation.report import make_report  # noqa: PLC0415
    from scheduler.revision import git_revision  # noqa: PLC0415

    with _spread(processes) as each:
        found = make_report(
            observations, seed=seed, created=datetime.now(UTC).date().isoformat(), git_revision=git_revision(),
            groupings=groupings, ablate=ablate, curve=curve, each=each, say=_progress,
        )  # fmt: skip
    if not can_plot():
        _progress("no plots: they need matplotlib (pip install 'pythia-scheduler[plots]')")
    written = write_report(found, pictures(found) if can_plot() else {}, folder)
    _progress(f"wrote {' and '.join(str(path) for path in written)}")
    return found.scores


@contextmanager
def _spread(processes: int) -> Iterator[Each]:
    """`map`, over so many processes; spawned, since a forked LightGBM may wait for a thread that stayed behind."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _progress(sentence: str) -> None:
    typer.echo(f"pythia: {sentence}", err=True)
