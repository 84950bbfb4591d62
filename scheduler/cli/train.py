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
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the scores on held-out groups.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train on observations, score the training on held-out groups, and write the bundle."""
    from predictor.bundle import save_bundle  # noqa: PLC0415
    from predictor.catalogue import load_models  # noqa: PLC0415
    from predictor.evaluation import evaluate, score_table  # noqa: PLC0415
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
        metrics={"held_out": [score.to_json() for score in scores]},
    )
    save_bundle(bundle, out)
    head = (
        f"{bundle.version}: {len(reading.observations):,} observations, {len(reading.rejected)} lines left out, "
        f"tasks {', '.join(bundle.manifest.tasks) or 'none'}, kinds {', '.join(bundle.manifest.kinds) or 'none'}"
    )
    text = "\n".join([*score_table(scores), f"Wrote {out} ({head})"])
    said = bundle.manifest.model_dump(mode="json") | {"rejected": [str(line) for line in reading.rejected]}
    emit(said, text, as_json=as_json)
