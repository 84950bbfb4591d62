"""What Hugging Face's Trainer leaves behind: `trainer_state.json`, `train_results.json` or `all_results.json`.

Used are:
- `train_runtime`: seconds of the whole `train()`, evaluation and saving included; the evaluations' own
  `eval_runtime` in `log_history` is taken off
- `step` of that entry, `global_step`: optimizer steps; a summary without steps has `train_steps_per_second`
- `train_batch_size`: samples per device in one forward pass
- `before_init_mem_gpu`, `init_mem_gpu_alloc_delta`, `train_mem_gpu_alloc_delta`, `train_mem_gpu_peaked_delta`
  (with `skip_memory_metrics=False`): bytes of tensors, which add up to the peak of the first GPU
Model, method, lengths, precision and the global batch are not in these files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected, UnusableResult
from predictor.importers.values import gib, known, number, positive, whole

_ALLOCATIONS = ("before_init_mem_gpu", "init_mem_gpu_alloc_delta", "train_mem_gpu_alloc_delta")
PEAK_ABOVE = "train_mem_gpu_peaked_delta"


def recognises(document: Document) -> bool:
    """A history of logs, or the metrics of a finished training."""
    return bool(document.keys & {"log_history", "train_runtime"})


def read(document: Document) -> Iterator[Item]:
    """One draft per finished training."""
    for found in document.objects:
        if isinstance(found, Rejected):
            yield found
            continue
        line, state = found
        try:
            yield Draft(line=line, fields=training(state))
        except UnusableResult as error:
            yield Rejected(line, str(error))


def training(state: Mapping[str, object]) -> dict[str, Any]:
    """The measured part of a state or of a summary; UnusableResult where nothing was measured."""
    logged = state.get("log_history")
    history = [entry for entry in logged if isinstance(entry, Mapping)] if isinstance(logged, list) else [state]
    finished = [entry for entry in history if positive(entry.get("train_runtime")) is not None]
    if not finished:
        raise UnusableResult("no entry has train_runtime: the training did not finish")
    metrics = finished[-1]
    step_time = _step_time(metrics, finished[:-1], history, state)
    allocated = peak_allocated_gib(metrics)
    if step_time is None and allocated is None:
        raise UnusableResult("the number of steps is missing, and so is any memory")
    return known(
        workload=known(type="training", micro_batch_size=whole(state.get("train_batch_size")), precision_unstated=True),
        software={"engine": "transformers"},
        step_time_s=step_time,
        peak_vram_gib=allocated,
        vram_metric="allocated" if allocated is not None else None,
    )


def _step_time(
    metrics: Mapping[str, object],
    earlier: list[Mapping[str, object]],
    history: list[Mapping[str, object]],
    state: Mapping[str, object],
) -> float | None:
    runtime = positive(metrics.get("train_runtime")) or 0.0
    last = whole(metrics.get("step")) or whole(state.get("global_step"))
    if last is None:
        steps_per_second = positive(metrics.get("train_steps_per_second"))
        return 1 / steps_per_second if steps_per_second is not None else None
    first = whole(earlier[-1].get("step")) or 0 if earlier else 0
    evaluations = [
        positive(entry.get("eval_runtime")) or 0.0
        for entry in history
        if first < (whole(entry.get("step")) or 0) <= last
    ]
    seconds = runtime - sum(evaluations)
    return seconds / (last - first) if last > first and seconds > 0 else None


def peak_allocated_gib(metrics: Mapping[str, object]) -> float | None:
    """The Trainer tells memory by stage: what each kept, and how far training rose above that."""
    above = number(metrics.get(PEAK_ABOVE))
    kept = [number(metrics.get(name)) for name in _ALLOCATIONS]
    if above is None or kept[0] is None:
        return None
    return gib(above + sum(part for part in kept if part is not None))
