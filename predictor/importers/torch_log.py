"""Text logs of PyTorch trainings that print elapsed time and memory; one run per file.

Read are the lines of
- Megatron-LM and its kin: `elapsed time per iteration (ms): 430.0`, `global batch size: 32`, and
  `memory (MB) | allocated: … | max allocated: … | max reserved: …` (MiB, of each rank that prints them)
- torchtitan: `step: 10 … memory: 36.6GiB(38.5%)  tps: 6,148`: reserved peak, and tokens per second of one GPU
- torchvision's MetricLogger: `time: 0.50 … max mem: 10123` (MiB of tensors), `Training time 0:12:34`
- transformers' Trainer on the console: `{'train_runtime': 642.3, 'train_steps_per_second': 0.5, …}`
- `max memory allocated (MB): 1234`, `max_memory_reserved: 12.3 GB` and the like (MB as torch's users count: MiB)
- `CUDA out of memory`: that the run ended so
The largest memory and the median time count, the first time being warm-up. What ran is not in a log: it is given.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected
from predictor.importers.hf_trainer import peak_allocated_gib
from predictor.importers.values import known, positive, section, whole

_LONGEST_LINE = 10_000
_NUMBER = r"([\d,]{0,15}\.?\d{1,20}(?:[eE][+-]?\d{1,3})?)"
_MEMORY = tuple(
    (metric, re.compile(rf"{words}{_NUMBER}\s?{unit}", re.IGNORECASE))
    for metric, words, unit in (
        ("allocated", r"max[ _](?:cuda )?(?:memory[ _])?(?:allocated|mem\b)[^\d|]{0,20}", r"(\w+)?"),
        ("reserved", r"max[ _](?:cuda )?(?:memory[ _])?reserved[^\d|]{0,20}", r"(\w+)?"),
        ("reserved", r"\bmemory:\s+", r"([GM]i?B)\b"),
    )
)
_STEP = {
    1e-3: re.compile(rf"elapsed time per iteration \(ms\): {_NUMBER}"),
    1.0: re.compile(rf"\btime: {_NUMBER}\s+data: "),
}
_TOKENS = re.compile(rf"\btps:\s+{_NUMBER}")
_BATCH = re.compile(r"global batch size:\s+(\d{1,9})\b")
_TOTAL = re.compile(r"Training time (?:(\d+) days?, )?(\d+):(\d\d):(\d\d)")
_OUT_OF_MEMORY = re.compile(r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|HIP out of memory")
_PRINTED = re.compile(r"'(\w{1,60})': '?(-?[\d.]{1,30}(?:[eE][+-]?\d{1,3})?)")
_UNITS = {"gib": 1.0, "gb": 1.0, "mib": 2.0**-10, "mb": 2.0**-10, "b": 2.0**-30, "bytes": 2.0**-30}
"""GiB; torch's users divide by powers of 1024 and write GB."""


def recognises(document: Document) -> bool:
    """Any line that says a time, a memory or that there was not enough."""
    patterns = (*(pattern for _, pattern in _MEMORY), *_STEP.values(), _TOKENS, _TOTAL, _OUT_OF_MEMORY)
    lines = (line[:_LONGEST_LINE] for _, line in document.lines)
    return any("train_runtime" in line or any(pattern.search(line) for pattern in patterns) for line in lines)


def read(document: Document) -> Iterator[Item]:
    """The one run of the log."""
    peaks: dict[str, float] = {}
    times: list[float] = []
    rates: list[float] = []
    fields: dict[str, Any] = {"workload": {"type": "training", "precision_unstated": True}}
    first = 0
    for number, whole_line in document.lines:
        line = whole_line[:_LONGEST_LINE]
        before = (len(peaks), len(times), len(rates), len(fields))
        for metric, pattern in _MEMORY:
            for said in pattern.finditer(line):
                value = _in_gib(said, line)
                if value is not None:
                    peaks[metric] = max(value, peaks.get(metric, 0.0))
        times += [scale * value for scale, pattern in _STEP.items() for value in _numbers(pattern, line)]
        rates += _numbers(_TOKENS, line)
        fields |= _said_once(line)
        if batch := _BATCH.search(line):
            fields["workload"]["global_batch_size"] = whole(batch[1])
        if (len(peaks), len(times), len(rates), len(fields)) != before:
            first = first or number
    fields |= _memory(peaks)
    fields |= known(step_time_s=fields.get("step_time_s") or _typical(times))
    rate = _typical(rates)
    if rate is None and not (set(fields) - {"workload"}):
        yield Rejected(1, "no line says a time, a memory or an end by lack of memory")
    else:
        yield Draft(line=first or 1, fields=fields, derive=_of_all_gpus(rate))


def _of_all_gpus(rate: float | None) -> Callable[[dict[str, Any]], None] | None:
    """torchtitan counts the tokens of one GPU, an observation those of the layout."""
    if rate is None:
        return None

    def derive(row: dict[str, Any]) -> None:
        count = whole(section(row, "layout").get("gpu_count"))
        if count is not None:
            row["tokens_per_second"] = rate * count

    return derive


def _said_once(line: str) -> dict[str, Any]:
    if _OUT_OF_MEMORY.search(line):
        return {"outcome": "out_of_memory"}
    if total := _TOTAL.search(line):
        days, hours, minutes, seconds = (int(part or 0) for part in total.groups())
        return {"runtime_s": float(((24 * days + hours) * 60 + minutes) * 60 + seconds)}
    if "'train_runtime'" in line:
        return _trainer(line)
    return {}


def _trainer(printed: str) -> dict[str, Any]:
    metrics = dict(_PRINTED.findall(printed))
    rate, allocated = positive(metrics.get("train_steps_per_second")), peak_allocated_gib(metrics)
    return known(
        step_time_s=1 / rate if rate is not None else None,
        peak_vram_gib=allocated,
        vram_metric="allocated" if allocated is not None else None,
    )


def _memory(peaks: dict[str, float]) -> dict[str, Any]:
    """What the allocator reserved is the larger truth; tensors alone are kept beside it."""
    if "reserved" in peaks:
        second = known(peak_allocated_gib=peaks.get("allocated"))
        return {"peak_vram_gib": peaks["reserved"], "vram_metric": "reserved", **second}
    if "allocated" in peaks:
        return {"peak_vram_gib": peaks["allocated"], "vram_metric": "allocated"}
    return {}


def _in_gib(said: re.Match[str], line: str) -> float | None:
    value = positive(said[1].replace(",", ""))
    unit = (said[2] or "").casefold()
    if unit not in _UNITS:  # the unit stands before the number: memory (MB) | …, max memory allocated (GB): …
        named = re.search(r"\((GiB|GB|MiB|MB|bytes)\)", line[: said.start(1)], re.IGNORECASE)
        unit = named[1].casefold() if named else "mib"
    return value * _UNITS[unit] if value is not None else None


def _numbers(pattern: re.Pattern[str], line: str) -> list[float]:
    found = (positive(said[1].replace(",", "")) for said in pattern.finditer(line))
    return [value for value in found if value is not None]


def _typical(values: list[float]) -> float | None:
    return statistics.median(values[1:] or values) if values else None
