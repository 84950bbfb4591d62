"""`pythia measure`: real runs on the GPU that is here, written down as observations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def measure(
    out: Annotated[Path, typer.Option(help="Observations are appended to this file.")] = Path("observations.jsonl"),
    minutes: Annotated[float, typer.Option(help="Stop after this long.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Order of the grid.")] = 0,
    cpu: Annotated[bool, typer.Option("--cpu", help="Smoke-test the harness on the CPU.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Measure real training, LoRA and generation, to out-of-memory and past it; run again, it goes on where it stopped.

    The measuring lives with the workers, which the scheduler does not import: it runs as a process of its own.
    """
    command = [sys.executable, "-m", "workers.measure"]
    command += ["--out", str(out), "--minutes", str(minutes), "--seed", str(seed)]
    command += ["--cpu"] * cpu + ["--json"] * as_json
    raise typer.Exit(subprocess.run(command, check=False).returncode)
