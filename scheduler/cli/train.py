"""`pythia train`: learn from files of observations and write a bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli.output import AsJson, emit


def train(
    observations: Annotated[
        Path | None,
        typer.Option("--observations", metavar="DIR", help="Folder or file of observations; default: those shipped."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the bundle is written.")] = Path("bundle"),
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds and data give equal bundles.")] = 7,
    from_database: Annotated[
        bool,
        typer.Option("--from-database", help="Learn this site here and now from what PYTHIA_DATABASE_URL keeps."),
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the scores on held-out groups.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train on observations, score the training on held-out groups, and write the bundle.

    With --from-database nothing is written but a version in the database, as a worker would (`pythia models train`).
    """
    if from_database:
        _from_database(as_json=as_json)
        return
    from predictor.architectures.catalogue import load_models  # noqa: PLC0415
    from predictor.bundle import save_bundle  # noqa: PLC0415
    from predictor.evaluation.scores import evaluate, score_table  # noqa: PLC0415
    from predictor.evaluation.totals import memory_totals  # noqa: PLC0415
    from predictor.facts import datasets_dir  # noqa: PLC0415
    from predictor.hardware import load_gpu_types  # noqa: PLC0415
    from predictor.telemetry_files import read_telemetry  # noqa: PLC0415
    from predictor.training import train as fit  # noqa: PLC0415
    from scheduler.revision import git_revision  # noqa: PLC0415

    reading = read_telemetry(observations or datasets_dir() / "telemetry", load_models(), load_gpu_types())
    for rejected in reading.rejected:
        typer.echo(f"pythia: left out {rejected}", err=True)
    scores = () if quick else evaluate(reading.observations, seed=seed)
    bundle = fit(
        reading.observations,
        seed=seed,
        created=datetime.now(UTC).date().isoformat(),
        git_revision=git_revision(),
        base=None,
        metrics={
            "held_out": [score.to_json() for score in scores],
            "memory": [total.to_json() for total in memory_totals(scores)],
        },
    )
    save_bundle(bundle, out)
    head = (
        f"{bundle.version}: {len(reading.observations):,} observations, {len(reading.rejected)} lines left out, "
        f"tasks {', '.join(bundle.manifest.tasks) or 'none'}, kinds {', '.join(bundle.manifest.kinds) or 'none'}"
    )
    text = "\n".join([*score_table(scores), f"Wrote {out} ({head})"])
    said = bundle.manifest.model_dump(mode="json") | {"rejected": [str(line) for line in reading.rejected]}
    emit(said, text, as_json=as_json)


def _from_database(*, as_json: bool) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    from predictor.architectures.catalogue import load_models  # noqa: PLC0415
    from predictor.hardware import load_gpu_types  # noqa: PLC0415
    from scheduler.revision import git_revision  # noqa: PLC0415
    from scheduler.services import trainings  # noqa: PLC0415
    from scheduler.settings import load_settings  # noqa: PLC0415
    from scheduler.storage.engine import make_engine  # noqa: PLC0415

    def utc_now() -> datetime:
        return datetime.now(UTC)

    engine = make_engine(load_settings().require_database_url(), pool_size=1)
    asked = trainings.request_training(engine, now=utc_now())
    done = trainings.run_training(
        engine, asked.id, load_gpu_types(), load_models(), git_revision=git_revision(), clock=utc_now
    )
    training = trainings.get_training(engine, asked.id)
    text = str(training.verdict) if done else f"training {asked.id} is a worker's already"
    shown = {
        name: value if value is None or isinstance(value, int) else str(value)
        for name, value in asdict(training).items()
    }
    emit(shown, text, as_json=as_json)
