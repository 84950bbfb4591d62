"""`pythia economics`: what tokens cost, on every offer and card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli.output import EXIT_REFUSED, AsJson, emit

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="What tokens cost on every offer and card.",
)

Offline = Annotated[
    bool, typer.Option("--offline", help="Ask no server: the shipped predictor and price snapshot answer.")
]


@app.callback()
def _group() -> None:
    """Keeps `tokens` a word of its own."""


@app.command()
def tokens(
    model: Annotated[str, typer.Option("--model", help="A known model id, or the path of a config.json.")],
    input_length: Annotated[float, typer.Option("--input", metavar="TOKENS", help="Mean prompt length.")],
    output_length: Annotated[float, typer.Option("--output", metavar="TOKENS", help="Mean answer length.")],
    precision: Annotated[
        str, typer.Option("--precision", help="Of the weights; cards without it serve in the next wider one.")
    ] = "bf16",
    kv_cache_precision: Annotated[str | None, typer.Option("--kv-precision", help="Of the KV cache.")] = None,
    cached: Annotated[
        float, typer.Option("--cached", metavar="TOKENS", help="Prompt tokens that the prefix cache holds.")
    ] = 0.0,
    engine: Annotated[str, typer.Option("--engine", help="Serving engine.")] = "vllm",
    ttft: Annotated[float | None, typer.Option("--ttft", metavar="S", help="Most time to first token, at p90.")] = None,
    tpot: Annotated[
        float | None, typer.Option("--tpot", metavar="S", help="Most time per output token, at p90.")
    ] = None,
    gpu_types: Annotated[list[str] | None, typer.Option("--gpu", help="Only this GPU type; repeatable.")] = None,
    max_gpus: Annotated[int, typer.Option("--max-gpus", help="Most GPUs of one deployment.")] = 8,
    jurisdictions: Annotated[
        list[str] | None, typer.Option("--jurisdiction", help="Where the machine stands: a country code, EU or EEA.")
    ] = None,
    provider_jurisdictions: Annotated[
        list[str] | None, typer.Option("--provider-jurisdiction", help="Where the company sits.")
    ] = None,
    spot: Annotated[str, typer.Option("--spot", help="Interruptible machines: forbid, allow or require.")] = "forbid",
    everything: Annotated[bool, typer.Option("--all", help="Every offer, not the best of each GPU type.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw into an SVG or PNG file.")] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Dollars per million input, output and blended tokens. Exit code 3 if no card holds the work in time."""
    from scheduler.cli.job_file import read_model  # noqa: PLC0415
    from scheduler.cli.token_table import tokens_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot, plot_tokens  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    asked: dict[str, Any] = {
        "model": read_model(model), "precision": precision, "kv_cache_precision": kv_cache_precision,
        "input_length": input_length, "output_length": output_length, "cached_prefix_length": cached,
        "engine": engine, "max_ttft_s": ttft, "max_tpot_s": tpot,
        "constraints": {
            "gpu_types": gpu_types or [], "max_gpus": max_gpus, "jurisdictions": jurisdictions or [],
            "provider_jurisdictions": provider_jurisdictions or [], "spot": spot,
        },
    }  # fmt: skip
    report = _offline(asked) if offline else _by_server(asked)
    emit(report, tokens_text(report, everything=everything), as_json=as_json)
    if not report["costs"]:
        raise typer.Exit(EXIT_REFUSED)
    if plot is not None:
        plot_tokens(report, plot)


def _by_server(asked: dict[str, Any]) -> dict[str, Any]:
    from scheduler.cli.client import ServerUnreachable, connect  # noqa: PLC0415

    with connect() as server:
        try:
            report: dict[str, Any] = server.post("/v1/economics/tokens", asked)
        except ServerUnreachable as error:
            raise ServerUnreachable(f"{error}; or ask without a server: --offline") from error
    return report


def _offline(asked: dict[str, Any]) -> dict[str, Any]:
    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.api import present_economics  # noqa: PLC0415
    from scheduler.economics.spec import parse_tokens_spec  # noqa: PLC0415
    from scheduler.services.economics import price_tokens_on  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    spec = parse_tokens_spec(asked)
    report = price_tokens_on(shipped_offers(), know(load_default_predictor()), spec)
    return present_economics.tokens(report).model_dump(mode="json")
