"""`pythia economics`: what tokens cost on every card, and when to leave a price per token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli.output import EXIT_REFUSED, AsJson, emit

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="What tokens cost on every card, and when an own deployment beats a price per token.",
)

Model = Annotated[str, typer.Option("--model", help="A known model id, or the path of a config.json.")]
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
GpuTypes = Annotated[list[str] | None, typer.Option("--gpu", help="Only this GPU type; repeatable.")]
MaxGpus = Annotated[int, typer.Option("--max-gpus", help="Most GPUs of one deployment.")]
Jurisdictions = Annotated[
    list[str] | None, typer.Option("--jurisdiction", help="Where the machine stands: a country code, EU or EEA.")
]
ProviderJurisdictions = Annotated[
    list[str] | None, typer.Option("--provider-jurisdiction", help="Where the company sits.")
]
Spot = Annotated[str, typer.Option("--spot", help="Interruptible machines: forbid, allow or require.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw into an SVG or PNG file.")]
Offline = Annotated[
    bool, typer.Option("--offline", help="Ask no server: the shipped predictor and price snapshot answer.")
]


@app.command()
def tokens(
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
    everything: Annotated[bool, typer.Option("--all", help="Every offer, not the best of each GPU type.")] = False,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Dollars per million input, output and blended tokens. Exit code 3 if no card holds the work in time."""
    from scheduler.cli.token_table import tokens_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot, plot_tokens  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    asked = _stream(
        model, input_length, output_length, precision, kv_cache_precision, cached, engine, ttft, tpot, gpu_types,
        max_gpus, jurisdictions, provider_jurisdictions, spot,
    )  # fmt: skip
    report = _tokens_here(asked) if offline else _by_server("tokens", asked)
    emit(report, tokens_text(report, everything=everything), as_json=as_json)
    if not report["costs"]:
        raise typer.Exit(EXIT_REFUSED)
    if plot is not None:
        plot_tokens(report, plot)


@app.command()
def crossover(
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
    api: Annotated[
        str | None, typer.Option("--api", metavar="PROVIDER", help="Compare with this provider alone.")
    ] = None,
    max_utilisation: Annotated[
        float, typer.Option("--max-utilisation", help="Share of a deployment's capacity that is planned for.")
    ] = 0.8,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """The traffic from which an own deployment beats each price per token. Exit code 3 if the work fits nowhere."""
    from scheduler.cli.crossover_table import crossover_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot, plot_crossover  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    asked = _stream(
        model, input_length, output_length, precision, kv_cache_precision, cached, engine, ttft, tpot, gpu_types,
        max_gpus, jurisdictions, provider_jurisdictions, spot,
    )  # fmt: skip
    asked |= {"max_utilisation": max_utilisation, "api_provider": api}
    report = _crossover_here(asked) if offline else _by_server("crossover", asked)
    emit(report, crossover_text(report), as_json=as_json)
    if not report["crossings"]:
        raise typer.Exit(EXIT_REFUSED)
    if plot is not None:
        plot_crossover(report, plot)


def _stream(
    model: str,
    input_length: float,
    output_length: float,
    precision: str,
    kv_cache_precision: str | None,
    cached: float,
    engine: str,
    ttft: float | None,
    tpot: float | None,
    gpu_types: list[str] | None,
    max_gpus: int,
    jurisdictions: list[str] | None,
    provider_jurisdictions: list[str] | None,
    spot: str,
) -> dict[str, Any]:
    """The question that both commands ask, as it is sent."""
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


def _by_server(what: str, asked: dict[str, Any]) -> dict[str, Any]:
    from scheduler.cli.client import post_unless_offline  # noqa: PLC0415

    return post_unless_offline(f"/v1/economics/{what}", asked, "ask")


def _tokens_here(asked: dict[str, Any]) -> dict[str, Any]:
    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.api import present_economics  # noqa: PLC0415
    from scheduler.economics.spec import parse_tokens_spec  # noqa: PLC0415
    from scheduler.services.economics import price_tokens_on  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    spec = parse_tokens_spec(asked)
    report = price_tokens_on(shipped_offers(), know(load_default_predictor()), spec)
    return present_economics.tokens(report).model_dump(mode="json")


def _crossover_here(asked: dict[str, Any]) -> dict[str, Any]:
    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.api import present_economics  # noqa: PLC0415
    from scheduler.economics.spec import parse_crossover_spec  # noqa: PLC0415
    from scheduler.services.economics import compare_apis_on  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    spec = parse_crossover_spec(asked)
    report = compare_apis_on(shipped_offers(), know(load_default_predictor()), spec)
    return present_economics.crossover(report).model_dump(mode="json")
