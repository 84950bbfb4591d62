"""`pythia economics fleet`: find the requests, and ask a server or the forecasts at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scheduler.cli.output import InvalidArgument


def ask_fleet(asked: dict[str, Any], trace: Path | None, *, offline: bool) -> dict[str, Any]:
    """The report; a trace's mean lengths are those of the stream, and no others can be asked."""
    from scheduler.economics.fleet_spec import MOST_INLINE, mean_length, parse_fleet_spec  # noqa: PLC0415
    from scheduler.economics.traffic_file import read_traffic  # noqa: PLC0415

    if trace is not None and asked["mean_rps"] is not None:
        raise InvalidArgument("--trace and --mean-rps contradict each other: give one of them")
    traffic = None if trace is None else read_traffic(trace)
    if traffic is not None:
        for name, option, tokens in (
            ("input_length", "--input", traffic.input_tokens), ("output_length", "--output", traffic.output_tokens),
        ):  # fmt: skip
            try:
                asked[name] = mean_length(option, asked[name], float(tokens.mean()))
            except ValueError as error:
                raise InvalidArgument(str(error)) from None
    elif asked["mean_rps"] is None:
        raise InvalidArgument("when do requests come? give --trace FILE, or the --mean-rps of a day")
    for name, option in (("input_length", "--input"), ("output_length", "--output")):
        if asked[name] is None:
            raise InvalidArgument(f"{option} is missing: a day's requests have a mean length, which only a trace says")
    if not offline:
        from scheduler.cli.client import post_unless_offline  # noqa: PLC0415

        if traffic is not None:
            if len(traffic) > MOST_INLINE:
                raise InvalidArgument(
                    f"{trace} holds {len(traffic):,} requests, and {MOST_INLINE:,} are the most that are sent to a "
                    "server: use --offline"
                )
            columns = (traffic.arrival_s, traffic.input_tokens, traffic.output_tokens)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            asked["requests"] = [[round(when, 3), read, written] for when, read, written in rows]
        return post_unless_offline("/v1/economics/fleet", asked, "ask")

    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.api import present_fleet  # noqa: PLC0415
    from scheduler.services.fleet import compare_fleets_on  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    spec = parse_fleet_spec(asked)
    report = compare_fleets_on(shipped_offers(), know(load_default_predictor()), spec, traffic)
    return present_fleet.fleet(report).model_dump(mode="json")
