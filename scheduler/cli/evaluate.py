"""`pythia evaluate`: errors and coverage on held-out groups, beside arithmetic alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit


def evaluate(
    observations: Annotated[
        Path, typer.Option("--observations", metavar="DIR", help="Folder or file of observations.")
    ],
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Hold out by configuration, family, gpu_type or site; repeatable; default: all."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the folds and the trees.")] = 7,
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
    reading = read_telemetry(observations, load_models(), load_gpu_types())
    scores = judge(reading.observations, seed=seed, groupings=by or GROUPINGS)
    text = "\n".join(score_table(scores)) or "Too few observations of training or inference to hold any out."
    emit([score.to_json() for score in scores], text, as_json=as_json)
