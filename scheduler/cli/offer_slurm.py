"""`pythia offer-slurm`: the nodes of a Slurm cluster become offers."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer


def offer_slurm(
    partition: Annotated[list[str] | None, typer.Option(help="Only this partition; may be repeated.")] = None,
    gpu_type: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TYPE", help="What a GRES type is: a100=A100-80GB-SXM.")
    ] = None,
    usd_per_gpu_hour: Annotated[str, typer.Option(help="What an hour of a GPU costs its users.")] = "0",
    country: Annotated[str | None, typer.Option(help="Where it stands, such as FI.")] = None,
    max_nodes: Annotated[str, typer.Option(metavar="N", help="How many nodes one job may have.")] = "1",
    interconnect_gbps: Annotated[
        str | None, typer.Option(metavar="GBPS", help="Between nodes, of each, in Gbit/s: 400.")
    ] = None,
    cluster: Annotated[str, typer.Option(help="The provider's name in plans.")] = "slurm",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Offer what `sinfo` shows on this host; run it again when the cluster has changed (PYTHIA_DATABASE_URL).

    Speaking to clusters is the workers' part, which the scheduler does not import: it runs as a process of its own.
    """
    command = [sys.executable, "-m", "workers.offer_slurm"]
    command += [f"--cluster={cluster}", f"--usd-per-gpu-hour={usd_per_gpu_hour}"]
    command += [f"--partition={name}" for name in partition or ()] + [f"--gpu-type={name}" for name in gpu_type or ()]
    command += [f"--max-nodes={max_nodes}"]
    command += [f"--interconnect-gbps={interconnect_gbps}"] * (interconnect_gbps is not None)
    command += [f"--country={country}"] * (country is not None) + ["--json"] * as_json
    raise typer.Exit(subprocess.run(command, check=False).returncode)
