"""`pythia economics roi`: read ranges, and answer from the prices at hand."""

from __future__ import annotations

from typing import Any

from scheduler.cli.output import InvalidArgument


def read_range(option: str, text: str | None) -> dict[str, float] | None:
    """`0.4` is certain, `0.2..0.4..0.7` are the least, the most likely and the most."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split("..")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise InvalidArgument(f"{option} is {text!r}, must be a number or three such as 0.2..0.4..0.7")
    return {"low": values[0], "mid": values[len(values) // 2], "high": values[-1]}


def read_work(
    model: str | None, precision: str, lengths: tuple[float | None, float | None], cached: float, provider: str | None
) -> dict[str, Any]:
    """The part of a question that says what the fleet serves; nothing where no model is named."""
    from scheduler.cli.job_file import read_model  # noqa: PLC0415

    if model is None:
        if lengths != (None, None) or provider is not None:
            raise InvalidArgument("--input, --output and --api-provider are those of a model's requests: give --model")
        return {}
    if None in lengths:
        raise InvalidArgument("--model needs --input and --output: the mean lengths of its requests")
    work = {
        "model": read_model(model), "precision": precision, "input_length": lengths[0], "output_length": lengths[1],
        "cached_prefix_length": cached,
    }  # fmt: skip
    return {"work": work} | ({} if provider is None else {"api_provider": provider})


def roi_offline(asked: dict[str, Any]) -> dict[str, Any]:
    """What a server would send, at the shipped prices."""
    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.api import present_roi  # noqa: PLC0415
    from scheduler.economics.roi_spec import parse_roi_spec  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.roi import weigh_ways_on  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    report = weigh_ways_on(shipped_offers(), know(load_default_predictor()), parse_roi_spec(asked))
    return present_roi.roi(report).model_dump(mode="json")
