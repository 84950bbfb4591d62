"""`pythia replay`: a trace run again in simulated time, under Pythia and under other ways of choosing."""

from __future__ import annotations

import os
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit, make_folder

if TYPE_CHECKING:
    from predictor.hardware import GpuCatalogue
    from scheduler.replay.measured import MeasuredWorlds
    from scheduler.replay.prices import Prices
    from scheduler.replay.trace import Trace


MOST_CRASH_USD = 1_000_000
"""Of one crash, beside machines."""


class ReplayKind(StrEnum):
    """What the jobs of a trace are taken to be."""

    MEASURED = "measured"
    MODELLED = "modelled"


class HoldOut(StrEnum):
    """What a measured replay's predictor has not seen."""

    CONFIGURATION = "configuration"
    FAMILY = "family"


def replay(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="CSV with job_id, submit_s, gpu_count, duration_s.")],
    kind: Annotated[
        ReplayKind, typer.Option("--kind", help="Jobs that somebody measured, or workloads drawn from a mix.")
    ] = ReplayKind.MODELLED,
    prices: Annotated[
        str | None, typer.Option("--prices", metavar="DATE|FILE", help="Prices of a day or before, or a price list.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", metavar="N", min=1, help="Only the first N jobs.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal replays.")] = 7,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write report.json, report.txt and plots there.")
    ] = None,
    observations: Annotated[
        Path | None, typer.Option("--observations", metavar="DIR", help="Measured runs; needed for --kind measured.")
    ] = None,
    hold_out: Annotated[
        HoldOut, typer.Option("--hold-out", help="What the predictor of a measured replay must not have seen.")
    ] = HoldOut.CONFIGURATION,
    free_layout: Annotated[
        bool, typer.Option("--free-layout", help="Let measured jobs choose their layout too, not only their card.")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep the predictors of a measured replay there.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="GPU", help="The card that users take.")
    ] = None,
    min_fit: Annotated[
        float, typer.Option("--min-fit", help="Probability of fitting that modelled jobs ask, 0.01 to 0.999.")
    ] = 0.95,
    crash_usd: Annotated[
        float, typer.Option("--crash-usd", help="What modelled jobs say a crash costs them beside machines.")
    ] = 125.0,
    as_json: AsJson = False,
) -> None:
    """Compare Pythia with other ways of choosing, and with an oracle, on the same arrivals."""
    from predictor.hardware import load_gpu_types  # noqa: PLC0415
    from scheduler.replay.prices import find_prices  # noqa: PLC0415
    from scheduler.replay.report import make_report, save_report  # noqa: PLC0415
    from scheduler.replay.run import compare, entries_of  # noqa: PLC0415
    from scheduler.replay.trace import read_trace  # noqa: PLC0415

    if not 0.01 <= min_fit <= 0.999:
        raise InvalidArgument(f"--min-fit {min_fit:g} is no such probability; give one from 0.01 to 0.999")
    if not 0 <= crash_usd <= MOST_CRASH_USD:
        raise InvalidArgument(f"--crash-usd {crash_usd:g} is no such sum; give one from 0 to {MOST_CRASH_USD:,}")
    for option, folder in (("--report", report), ("--keep", keep)):
        if folder is not None:
            make_folder(option, folder)
    whole = read_trace(trace)
    chosen = whole if jobs is None else whole.first(jobs)
    gpus = load_gpu_types()
    if reference is not None:
        gpus.variants(reference)
    bought = find_prices(prices, gpus)
    if kind is ReplayKind.MEASURED:
        if observations is None:
            raise InvalidArgument("--kind measured needs --observations DIR, a folder of measured runs")
        worlds = _measured(chosen, bought, gpus, observations, hold_out, free_layout, keep, reference, seed)
        world, predictor = worlds.known, f"trained without each {hold_out} that it is asked about"
        entries = entries_of(world, worlds.doubted)
    else:
        from predictor.architectures.catalogue import load_models  # noqa: PLC0415
        from predictor.bundle import load_bundle  # noqa: PLC0415
        from scheduler.replay.market import Market  # noqa: PLC0415
        from scheduler.replay.mix import read_mix  # noqa: PLC0415
        from scheduler.replay.modelled import REFERENCE, Recipe, build_modelled  # noqa: PLC0415

        bundle = load_bundle()
        recipe = Recipe(
            market=Market(bought.offers), gpus=gpus, bundle=bundle, mix=read_mix(load_models()),
            reference=reference or REFERENCE, min_fit_probability=min_fit,
            out_of_memory_usd=Decimal(str(crash_usd)),
        )  # fmt: skip
        world, predictor = build_modelled(chosen, recipe, seed=seed), bundle.version
        entries = entries_of(world)
    compared = compare(entries, _progress)
    result = make_report(
        chosen, basis=world.basis, seed=seed, prices=bought.says, predictor=predictor, notes=world.notes,
        figures=compared.figures,
    )  # fmt: skip
    if report is not None:
        from scheduler.replay.plots import can_plot, save_plots  # noqa: PLC0415

        written = save_report(result, report)
        if can_plot():
            written += save_plots(compared.figures, compared.waits, report, basis=world.basis)
        else:
            _progress("no plots: they need matplotlib")
        _progress(f"wrote {', '.join(str(path) for path in written)}")
    emit(result.to_json(), result.text(), as_json=as_json)


def _measured(
    trace: Trace,
    prices: Prices,
    gpus: GpuCatalogue,
    observations: Path,
    hold_out: HoldOut,
    free_layout: bool,
    keep: Path | None,
    reference: str | None,
    seed: int,
) -> MeasuredWorlds:
    from predictor.architectures.catalogue import load_models  # noqa: PLC0415
    from predictor.telemetry_files import read_telemetry  # noqa: PLC0415
    from scheduler.replay.held_out import hold_out as train_without  # noqa: PLC0415
    from scheduler.replay.market import Market  # noqa: PLC0415
    from scheduler.replay.measured import GROUPS, REFERENCE, build_measured, configurations  # noqa: PLC0415

    seen = read_telemetry(observations, load_models(), gpus).observations
    group_of = GROUPS[hold_out]
    unseen = train_without(seen, group_of, seed=seed, keep_in=keep or _cache(), say=_progress)
    return build_measured(
        trace, configurations(seen, free_layout=free_layout), Market(prices.offers, unlimited=True), gpus,
        lambda one: unseen.bundle_of[group_of(one)], seed=seed, reference=reference or REFERENCE,
    )  # fmt: skip


def _cache() -> Path:
    """Where predictors that take minutes to train are kept (the XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pythia" / "held-out"


def _progress(sentence: str) -> None:
    typer.echo(f"pythia: {sentence}", err=True)
