"""`pythia economics roi` and `assess`: whether to own GPUs, and what to do about a token bill, over years."""

from __future__ import annotations

from typing import Annotated

import typer

from scheduler.cli.economics_asking import Offline, Plot, Prices, by_server, own_prices, without_none
from scheduler.cli.output import EXIT_REFUSED, AsJson, emit


def roi(
    gpu_type: Annotated[str, typer.Option("--gpu", help="Of the fleet, such as H100-SXM.")],
    gpus: Annotated[int, typer.Option("--gpus", help="Of the fleet.")],
    *,
    months: Annotated[int | None, typer.Option("--months", help="Horizon; 36 unless given.")] = None,
    capital: Annotated[float | None, typer.Option("--capital", metavar="USD", help="To buy one GPU.")] = None,
    reserved: Annotated[float | None, typer.Option("--reserved", metavar="USD", help="Of a reserved GPU-hour.")] = None,
    on_demand: Annotated[
        float | None, typer.Option("--on-demand", metavar="USD", help="Of a GPU-hour; the cheapest offer's.")
    ] = None,
    serverless: Annotated[
        float | None, typer.Option("--serverless", metavar="USD", help="Of a busy GPU-hour, billed by the second.")
    ] = None,
    api: Annotated[
        float | None, typer.Option("--api", metavar="USD", help="For the work of a busy GPU-hour, per token.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="That the fleet serves: what an API asks for its work, not --api.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="Of its weights.")] = "bf16",
    input_length: Annotated[float | None, typer.Option("--input", metavar="TOKENS", help="Mean prompt length.")] = None,
    output_length: Annotated[
        float | None, typer.Option("--output", metavar="TOKENS", help="Mean answer length.")
    ] = None,
    cached: Annotated[float, typer.Option("--cached", metavar="TOKENS", help="Prompt tokens that requests share.")] = 0,
    api_provider: Annotated[
        str | None, typer.Option("--api-provider", metavar="PROVIDER", help="The cheapest unless given.")
    ] = None,
    prices: Prices = None,
    max_utilisation: Annotated[
        float | None, typer.Option("--max-utilisation", help="Of a fleet, and of what is rented.")
    ] = None,
    discount: Annotated[float | None, typer.Option("--discount", help="Rate of a year.")] = None,
    watts: Annotated[float | None, typer.Option("--watts", help="Of a GPU with its share of the server.")] = None,
    pue: Annotated[float | None, typer.Option("--pue", help="Of the building.")] = None,
    hosting: Annotated[float | None, typer.Option("--hosting", metavar="USD", help="Of a kW-month.")] = None,
    staff: Annotated[float | None, typer.Option("--staff", metavar="USD", help="A month, for owning.")] = None,
    utilisation: Annotated[
        str | None,
        typer.Option(
            "--utilisation",
            metavar="RANGE",
            help="Demand of the first month, as a share of the fleet: 0.4, or 0.2..0.4..0.7.",
        ),
    ] = None,
    growth: Annotated[str | None, typer.Option("--growth", metavar="RANGE", help="Of demand, in a year.")] = None,
    price_fall: Annotated[
        str | None, typer.Option("--price-fall", metavar="RANGE", help="Of prices but reserved ones, in a year.")
    ] = None,
    usd_per_kwh: Annotated[str | None, typer.Option("--kwh", metavar="RANGE", help="Dollars of a kWh.")] = None,
    value_kept: Annotated[
        str | None, typer.Option("--value-kept", metavar="RANGE", help="Of capital, in a year.")
    ] = None,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Buy, reserve, rent on demand or by the second, or pay per token: discounted cost and payback over years."""
    from scheduler.cli.roi_question import read_range, read_work, roi_offline  # noqa: PLC0415
    from scheduler.cli.roi_table import WORDS, roi_text  # noqa: PLC0415
    from scheduler.economics.plots import check_plot  # noqa: PLC0415
    from scheduler.economics.roi_plot import plot_roi  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    given = {
        "months": months, "capital_usd_per_gpu": capital, "reserved_usd_per_gpu_hour": reserved,
        "on_demand_usd_per_gpu_hour": on_demand, "serverless_usd_per_gpu_hour": serverless,
        "api_usd_per_gpu_hour": api, "max_utilisation": max_utilisation, "discount_rate": discount,
        "watts_per_gpu": watts, "pue": pue, "hosting_usd_per_kw_month": hosting, "staff_usd_per_month": staff,
        "utilisation": read_range("--utilisation", utilisation), "growth": read_range("--growth", growth),
        "price_fall": read_range("--price-fall", price_fall), "usd_per_kwh": read_range("--kwh", usd_per_kwh),
        "value_kept": read_range("--value-kept", value_kept),
    }  # fmt: skip
    work = read_work(model, precision, (input_length, output_length), cached, api_provider)
    asked = {"gpu_type": gpu_type, "gpus": gpus} | without_none(given) | work | own_prices(prices)
    report = roi_offline(asked) if offline else by_server("roi", asked)
    emit(report, roi_text(report), as_json=as_json)
    if plot is not None:
        plot_roi(report, WORDS, plot)


def assess(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The questionnaire, YAML or JSON; - is standard input.")],
    *,
    prices: Prices = None,
    plot: Plot = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """What to do about token bills: the cheapest way allowed, what would flip that, when to start shadow traffic.

    Exit code 3 if nothing that is known satisfies the constraints of a model.
    """
    from scheduler.cli.assess_question import assess_offline, read_questionnaire  # noqa: PLC0415
    from scheduler.cli.assess_table import assess_text  # noqa: PLC0415
    from scheduler.economics.assess_plot import plot_assess  # noqa: PLC0415
    from scheduler.economics.plots import check_plot  # noqa: PLC0415

    if plot is not None:
        check_plot(plot)
    asked = read_questionnaire(file) | own_prices(prices)
    report = assess_offline(asked) if offline else by_server("assess", asked)
    emit(report, assess_text(report), as_json=as_json)
    if plot is not None:
        plot_assess(report, plot)
    if any(found["best"] is None for found in report["findings"]):
        raise typer.Exit(EXIT_REFUSED)
