"""Megatron-LM's functional tests: `golden_values_*.json` and the `model_config.yaml` beside it.

Used of the golden values, each a series over steps:
- `iteration-time`: seconds per step; the median after the first, which is warm-up (`iteration_timing_avg` in old files)
- `mem-max-allocated-bytes`: tensors' peak so far on the **last** rank, which writes the log; the largest
Used of `MODEL_ARGS`: the arguments that shape the model, the batch, the precision, the split and the recomputation,
where they are absent Megatron's own defaults. The GPU count stands in older folder names (`1N8G`) and is given
otherwise; a DGX H100 or GB200 in the file's name says the card, a DGX A100 was sold with two.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected, UnusableResult
from predictor.importers.megatron_arguments import ramps_up_its_batch, sharded_layout, training_workload
from predictor.importers.values import gib, known, positive, section

CONFIG = "model_config.yaml"
TIME, MEMORY, OLD_TIME = "iteration-time", "mem-max-allocated-bytes", "iteration_timing_avg"

_DGX = {"h100": "H100-SXM", "gb200": "GB200", "b200": "B200"}


def recognises(document: Document) -> bool:
    """Series that Megatron's tests record."""
    values = section(document.value)
    return "lm loss" in values or bool({TIME, MEMORY, OLD_TIME} & set(values))


def read(document: Document) -> Iterator[Item]:
    """The one test of the file."""
    try:
        yield _test(document)
    except UnusableResult as error:
        yield Rejected(1, str(error))


def _test(document: Document) -> Draft:
    golden = section(document.value)
    arguments = _arguments(document)
    steps, peaks = _series(golden.get(TIME)), _series(golden.get(MEMORY))
    step_time = statistics.median(steps[1:] or steps) if steps else positive(golden.get(OLD_TIME))
    if ramps_up_its_batch(arguments):
        step_time = None  # the steps are of many sizes
    if step_time is None and not peaks:
        raise UnusableResult("the golden values hold neither a step's time at a constant batch nor any memory")
    dgx = re.search(r"dgx_?(h100|gb200|b200)", document.path.name)
    nodes = re.search(r"(\d{1,4})N(\d{1,2})G", document.path.parent.name)
    count = {"gpu_count": int(nodes[1]) * int(nodes[2])} if nodes else {}
    fields: dict[str, Any] = known(
        workload=training_workload(arguments),
        gpu_type=_DGX[dgx[1]] if dgx else None,
        layout=count | sharded_layout(arguments),
        software={"engine": "megatron-lm"},
        source="megatron-golden",
        licence="BSD-3-Clause",
        step_time_s=step_time,
        peak_vram_gib=gib(max(peaks)) if peaks else None,
        vram_metric="allocated" if peaks else None,
        rank="last" if peaks else None,
    )
    return Draft(line=1, fields=fields)


def _series(recorded: object) -> list[float]:
    """Values in the order of their steps; newer files name the step, older ones list them."""
    values = section(recorded).get("values")
    if isinstance(values, Mapping):
        numbered = [(int(step), value) for step, value in values.items() if str(step).isdecimal() and len(step) < 10]
        values = [value for _, value in sorted(numbered, key=lambda item: item[0])]
    found = (positive(value) for value in values) if isinstance(values, list) else ()
    return [value for value in found if value is not None]


def _arguments(document: Document) -> Mapping[str, str]:
    """`MODEL_ARGS` as text; a flag is "true"."""
    path = document.path.with_name(CONFIG)
    try:
        # BaseLoader makes nothing but texts, lists and mappings, whatever a file's tags ask for
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UnusableResult(f"{CONFIG} must lie beside the golden values and cannot be read: {error}") from None
    arguments = section(config, "MODEL_ARGS")
    if not arguments:
        raise UnusableResult(f"{CONFIG} has no MODEL_ARGS")
    return {str(name).lstrip("-"): value for name, value in arguments.items() if isinstance(value, str)}
