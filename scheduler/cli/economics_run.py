"""`pythia economics training-run`: what a training run costs and how long it takes."""

from __future__ import annotations

from typing import Annotated

import typer

from scheduler.cli.economics_asking import (
    GpuTypes,
    Jurisdictions,
    Model,
    Offline,
    Plot,
    ProviderJurisdictions,
    Spot,
    ask,
    without_none,
)
from scheduler.cli.output import EXIT_REFUSED, AsJson, emit


def training_run(
    model: Model,
    *,
    num_tokens: Annotated[float | None, typer.Option("--tokens", help="Tokens of one epoch; or --samples.")] = None,
    num_samples: Annotated[int | None, typer.Option("--samples", help="Samples of one epoch.")] = None,
    epochs: Annotated[float, typer.Option("--epochs", help="How often all of it is read.")] = 1.0,
    length: Annotated[float, typer.Option("--length", metavar="TOKENS", help="Tokens of a sequence.")] = 2048.0,
    method: Annotated[str, typer.Option("--method", help="full, lora or qlora.")] = "full",
    precision: Annotated[str, typer.Option("--precision", help="Of the arithmetic.")] = "bf16",
    micro_batch: Annotated[int, typer.Option("--micro-batch", help="Sequences of one pass on a GPU.")] = 1,
    global_batch: Annotated[int | None, typer.Option("--global-batch", help="Sequences of an optimizer step.")] = None,
    optimizer: Annotated[str | None, typer.Option("--optimizer", help="adamw unless given.")] = None,
    recompute: Annotated[str | None, typer.Option("--gradient-checkpointing", help="none, selective or full.")] = None,
    lora_rank: Annotated[int | None, typer.Option("--lora-rank", help="Of adapters.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Training software.")] = None,
    gpu_types: GpuTypes = None,
    gpus: Annotated[int | None, typer.Option("--gpus", help="Exactly so many GPUs.")] = None,
    max_gpus: Annotated[int | None, typer.Option("--max-gpus", help="Most GPUs; 8 unless given.")] = None,
    jurisdictions: Jurisdictions = None,
    provider_jurisdictions: ProviderJurisdictions = None,
    spot: Spot = "forbid",
    failures: Annotated[
        float | None, typer.Option("--failures", metavar="RATE", help="Failures per GPU-hour that stop the run.")
    ] = None,
    restart: Annotated[float | None, typer.Option("--restart", metavar="S", help="From a failure to reading.")] = None,
    bandwidth: Annotated[
        float | None, typer.Option("--checkpoint-bandwidth", metavar="GB/s", help="Of each machine.")
    ] = None,
    blocking: Annotated[
        float | None, typer.Option("--checkpoint-blocking", help="Share of the writing that the work waits for.")
    ] = None,
    interval: Annotated[
        float | None, typer.Option("--checkpoint-interval", metavar="S", help="Of work; the best unless given.")
    ] = None,
    evaluation: Annotated[
        float | None, typer.Option("--evaluation", help="Seconds of evaluation for a second of training.")
    ] = None,
    kept: Annotated[int | None, typer.Option("--keep", help="Checkpoints that are kept.")] = None,
    storage: Annotated[str | None, typer.Option("--storage-price", metavar="USD", help="Of a GiB-month.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every offer and count, the cheapest first.")] = False,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Dollars and hours of a training run, restarts and checkpoints included. Exit code 3 if it fits nowhere."""
    from scheduler.cli.job_file import read_model  # noqa: PLC0415
    from scheduler.cli.training_run_table import training_run_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot  # noqa: PLC0415
    from scheduler.economics.training_run_plot import plot_training_run  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    given = {
        "num_tokens": num_tokens, "num_samples": num_samples, "global_batch_size": global_batch,
        "optimizer": optimizer, "gradient_checkpointing": recompute, "lora_rank": lora_rank, "engine": engine,
        "failures_per_gpu_hour": failures, "restart_s": restart, "checkpoint_gb_per_s": bandwidth,
        "checkpoint_blocking": blocking, "checkpoint_interval_s": interval, "evaluation_share": evaluation,
        "checkpoints_kept": kept, "storage_usd_per_gib_month": storage,
    }  # fmt: skip
    counts = {"gpu_count": gpus, "max_gpus": max_gpus}
    asked = {
        "model": read_model(model), "method": method, "precision": precision, "epochs": epochs,
        "sequence_length": length, "micro_batch_size": micro_batch,
        "constraints": {
            "gpu_types": gpu_types or [], "jurisdictions": jurisdictions or [],
            "provider_jurisdictions": provider_jurisdictions or [], "spot": spot,
        } | without_none(counts),
    } | without_none(given)  # fmt: skip
    report = ask("training-run", asked, offline=offline)
    emit(report, training_run_text(report, everything=everything), as_json=as_json)
    if not report["runs"]:
        raise typer.Exit(EXIT_REFUSED)
    if plot is not None:
        plot_training_run(report, plot)
