"""What the commands of `pythia economics` share: options, and asking a server or the forecasts at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option("--model", help="A known model id, or the path of a config.json.")]
GpuTypes = Annotated[list[str] | None, typer.Option("--gpu", help="Only this GPU type; repeatable.")]
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

Prices = Annotated[
    Path | None,
    typer.Option(
        "--prices", metavar="FILE", help="API prices, CSV or JSON Lines as in datasets/, instead of the shipped list."
    ),
]


def own_prices(path: Path | None) -> dict[str, Any]:
    """The part of a question that holds the asker's own list; InvalidFacts names the first line that cannot be true."""
    if path is None:
        return {}
    from scheduler.economics.api_prices import read_api_prices  # noqa: PLC0415

    return {
        "api_prices": [
            {
                "provider": one.provider, "model_key": one.model_key, "model": one.model,
                "input_usd_per_mtok": str(one.input_usd), "output_usd_per_mtok": str(one.output_usd),
                "cached_input_usd_per_mtok": None if one.cached_input_usd is None else str(one.cached_input_usd),
                "provider_hq": one.provider_hq, "price_date": one.price_date, "source": path.name[:200],
            }
            for one in read_api_prices(path)
        ]
    }  # fmt: skip


def price_lines(report: Mapping[str, Any]) -> list[str]:
    """The list of API prices that an answer used, its days, and what is hard to believe of it."""
    used = report["price_list"]
    days = " to ".join(dict.fromkeys((used["oldest"], used["newest"])))
    return [f"API prices: {used['name']}, of {days}.", *(f"Doubtful: {one}." for one in used["doubts"])]


def without_none(options: dict[str, Any]) -> dict[str, Any]:
    """What was said: the rest is for the reader of the question to assume, and to name."""
    return {name: value for name, value in options.items() if value is not None}


def ask(what: str, asked: dict[str, Any], *, offline: bool) -> dict[str, Any]:
    """The answer of a server, or what one would send."""
    if offline:
        from scheduler.cli.economics_offline import answer_offline  # noqa: PLC0415

        return answer_offline(what, asked)
    return by_server(what, asked)


def by_server(what: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The answer of a server."""
    from scheduler.cli.client import post_unless_offline  # noqa: PLC0415

    return post_unless_offline(f"/v1/economics/{what}", asked, "ask")
