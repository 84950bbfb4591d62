"""`pythia economics`: what tokens, training runs and days of requests cost, when to leave an API, what was wasted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli.economics_asking import (
    GpuTypes,
    Jurisdictions,
    Model,
    Offline,
    Plot,
    Prices,
    ProviderJurisdictions,
    Spot,
    ask,
    own_prices,
)
from scheduler.cli.economics_run import training_run
from scheduler.cli.economics_years import assess, roi
from scheduler.cli.output import EXIT_REFUSED, AsJson, emit

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="What tokens, training runs and days of requests cost, when to leave an API, and what was wasted.",
)

InputLength = Annotated[float, typer.Option("--input", metavar="TOKENS", help="Mean prompt length.")]
OutputLength = Annotated[float, typer.Option("--output", metavar="TOKENS", help="Mean answer length.")]
Precision = Annotated[
    str, typer.Option("--precision", help="Of the weights; cards without it serve in the next wider one.")
]
KvPrecision = Annotated[str | None, typer.Option("--kv-precision", help="Of the KV cache.")]
Cached = Annotated[float, typer.Option("--cached", metavar="TOKENS", help="Prompt tokens that requests share.")]
Engine = Annotated[str, typer.Option("--engine", help="Serving engine.")]
Ttft = Annotated[float | None, typer.Option("--ttft", metavar="S", help="Most time to first token, at p90.")]
Tpot = Annotated[float | None, typer.Option("--tpot", metavar="S", help="Most time per output token, at p90.")]
MaxGpus = Annotated[int, typer.Option("--max-gpus", help="Most GPUs of one deployment.")]


def _stream(
    model: Model,
    input_length: InputLength,
    output_length: OutputLength,
    precision: Precision = "bf16",
    kv_cache_precision: KvPrecision = None,
    cached: Cached = 0.0,
    engine: Engine = "vllm",
    ttft: Ttft = None,
    tpot: Tpot = None,
    gpu_types: GpuTypes = None,
    max_gpus: MaxGpus = 8,
    jurisdictions: Jurisdictions = None,
    provider_jurisdictions: ProviderJurisdictions = None,
    spot: Spot = "forbid",
) -> dict[str, Any]:
    """The question that every command here asks, as it is sent: its parameters are their options."""
    from scheduler.cli.job_file import read_model  # noqa: PLC0415

    return {
        "model": read_model(model), "precision": precision, "kv_cache_precision": kv_cache_precision,
        "input_length": input_length, "output_length": output_length, "cached_prefix_length": cached,
        "engine": engine, "max_ttft_s": ttft, "max_tpot_s": tpot,
        "constraints": {
            "gpu_types": gpu_types or [], "max_gpus": max_gpus, "jurisdictions": jurisdictions or [],
            "provider_jurisdictions": provider_jurisdictions or [], "spot": spot,
        },
    }  # fmt: skip


def _of_a_stream(command: Callable[..., None], *, lengths: bool = True) -> Callable[..., None]:
    """Give a command the options of a stream of requests before its own; it is handed the question they make.

    Without `lengths` those of the requests may be left out, for a command that can find them elsewhere.
    """
    shared = dict(inspect.signature(_stream, eval_str=True).parameters)
    if not lengths:
        shared |= {name: shared[name].replace(default=None) for name in ("input_length", "output_length")}
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    @wraps(command)
    def run(**given: Any) -> None:
        asked = _stream(**{name: given.pop(name) for name in shared})
        command(asked, **given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*shared.values(), *own)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    return run


@app.command()
@_of_a_stream
def tokens(
    asked: dict[str, Any],
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every offer, count and layout, not the best of each GPU type.")
    ] = False,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Dollars per million input, output and blended tokens. Exit code 3 if no card holds the work in time."""
    from scheduler.cli.token_table import tokens_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot, plot_tokens  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    report = ask("tokens", asked, offline=offline)
    emit(report, tokens_text(report, everything=everything), as_json=as_json)
    if not report["costs"]:
        raise typer.Exit(EXIT_REFUSED)
    if plot is not None:
        plot_tokens(report, plot)


@app.command()
@_of_a_stream
def crossover(
    asked: dict[str, Any],
    *,
    api: Annotated[
        str | None, typer.Option("--api", metavar="PROVIDER", help="Compare with this provider alone.")
    ] = None,
    max_utilisation: Annotated[
        float, typer.Option("--max-utilisation", help="Share of a deployment's capacity that is planned for.")
    ] = 0.8,
    prices: Prices = None,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """The traffic from which an own deployment beats each price per token. Exit code 3 if the work fits nowhere."""
    from scheduler.cli.crossover_table import crossover_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot, plot_crossover  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    asked |= {"max_utilisation": max_utilisation, "api_provider": api} | own_prices(prices)
    report = ask("crossover", asked, offline=offline)
    emit(report, crossover_text(report), as_json=as_json)
    if not report["crossings"]:
        raise typer.Exit(EXIT_REFUSED)
    if plot is not None:
        plot_crossover(report, plot)


@app.command()
@partial(_of_a_stream, lengths=False)
def fleet(
    asked: dict[str, Any],
    *,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Requests: CSV or JSON Lines, .gz or not; instead of a day."),
    ] = None,
    mean_rps: Annotated[float | None, typer.Option("--mean-rps", help="Requests a second, mean of the day.")] = None,
    peak_rps: Annotated[float | None, typer.Option("--peak-rps", help="In its busiest minute.")] = None,
    shape: Annotated[str | None, typer.Option("--shape", help="Of the day: flat, day or office.")] = None,
    length_cv: Annotated[
        float, typer.Option("--length-cv", help="Standard deviation of a day's lengths over their mean.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the day's chances.")] = 0,
    ttft_p95: Annotated[
        float | None, typer.Option("--ttft-p95", metavar="S", help="Most time to first token at p95, with the wait.")
    ] = None,
    idle: Annotated[
        float | None, typer.Option("--idle", metavar="S", help="Idle time-out; the best of some if left out.")
    ] = None,
    max_elastic: Annotated[int, typer.Option("--max-elastic", help="Most replicas beside the dedicated.")] = 1000,
    reserved_discount: Annotated[
        str, typer.Option("--reserved-discount", help="Off the price of a replica kept all day, 0 to below 1.")
    ] = "0",
    load_gb_s: Annotated[
        float | None, typer.Option("--load-gb-s", help="GB/s from storage at a start; as forecast if left out.")
    ] = None,
    api: Annotated[
        str | None, typer.Option("--api", metavar="PROVIDER", help="Compare with this provider alone.")
    ] = None,
    prices: Prices = None,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """What serving a day of requests costs: by the token, dedicated, scaled to zero, or both. Exit code 3: nowhere."""
    from scheduler.cli.fleet_question import ask_fleet  # noqa: PLC0415
    from scheduler.cli.fleet_table import fleet_text  # noqa: PLC0415
    from scheduler.economics.fleet_plots import plot_fleet  # noqa: PLC0415
    from scheduler.economics.plots import check_plot  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    asked |= {
        "mean_rps": mean_rps, "peak_rps": peak_rps, "shape": shape, "length_cv": length_cv, "seed": seed,
        "max_ttft_p95_s": ttft_p95, "idle_timeout_s": idle, "max_elastic_replicas": max_elastic,
        "reserved_discount": reserved_discount, "load_gb_s": load_gb_s, "api_provider": api,
    } | own_prices(prices)  # fmt: skip
    report = ask_fleet(asked, trace, offline=offline)
    emit(report, fleet_text(report), as_json=as_json)
    if not report["curve"]:
        raise typer.Exit(EXIT_REFUSED)
    if plot is not None:
        plot_fleet(report, plot)


@app.command()
def waste(
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="2026-11-01, or with a time and zone; 30 days back.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="One's own, by its name.")] = None,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Ask the database itself: for who runs this installation.")
    ] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help="Simulated runs instead of real ones.")] = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """What this installation paid for and did not use, by cause, user and GPU type, and the jobs to talk about."""
    from scheduler.cli.waste_question import ask_waste  # noqa: PLC0415
    from scheduler.cli.waste_table import WORDS, waste_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot  # noqa: PLC0415
    from scheduler.economics.waste_plot import plot_waste  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    report = ask_waste(since, tenant, all_tenants=all_tenants, simulated=simulated)
    emit(report, waste_text(report), as_json=as_json)
    if plot is not None:
        plot_waste(report, WORDS, plot)


app.command("training-run")(training_run)
app.command()(roi)
app.command()(assess)
