"""Hugging Face PEFT's `method_comparison` results: one JSON per experiment with run_info, train_info and meta_info.

Used are:
- `run_info.train_config`: model_id, dtype, max_seq_length (a cap), batch_size, optimizer_type, use_gc
- `run_info.peft_config`: null for full fine-tuning, else peft_type, r, target_modules, use_dora
- `train_info.accelerator_memory_max` (`cuda_memory_max` in older files): bytes the allocator reserved at its peak
- `train_info.metrics`: per interval `train time` in seconds (without evaluation), `step`, and at the end
  `train total tokens` over `train samples`, the mean length
- `meta_info.system_info.accelerator` (`gpu`): the card as torch names it; `meta_info.package_info`: versions
- `run_info.error_msg`: out of memory, if that is how it ended
Memory follows from the longest texts and time from the mean, so a run gives one row for each. One GPU runs it all.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected, UnusableResult
from predictor.importers.gpu_names import gpu_type_named
from predictor.importers.values import gib, known, positive, section, text, whole

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def recognises(document: Document) -> bool:
    """The three sections' names."""
    return document.keys >= {"run_info", "train_info"}


def read(document: Document) -> Iterator[Item]:
    """Memory and time of each experiment."""
    for found in document.objects:
        if isinstance(found, Rejected):
            yield found
            continue
        line, result = found
        try:
            yield from _experiment(line, result)
        except UnusableResult as error:
            yield Rejected(line, str(error))


def _experiment(line: int, result: Mapping[str, object]) -> Iterator[Draft]:
    config, trained = section(result, "run_info", "train_config"), section(result, "train_info")
    packages, system = section(result, "meta_info", "package_info"), section(result, "meta_info", "system_info")
    version = [f"{name} {packages[key]}" for name in ("torch", "transformers", "peft")
               if text(packages.get(key := f"{name}-version"))]  # fmt: skip
    batch = whole(config.get("batch_size"))
    workload: dict[str, Any] = known(
        type="training",
        model=text(config.get("model_id")),
        precision=DTYPES.get(str(config.get("dtype"))),
        micro_batch_size=batch,
        global_batch_size=batch,
        optimizer=(text(config.get("optimizer_type")) or "").casefold() or None,
        gradient_checkpointing="full" if config.get("use_gc") is True else "none",
        num_steps=1,
    ) | _method(section(result, "run_info").get("peft_config", "missing"))
    shared: dict[str, Any] = known(
        gpu_type=gpu_type_named(text(system.get("accelerator")) or text(system.get("gpu"))),
        layout={"gpu_count": 1},
        software=known(engine="transformers", version=", ".join(version) or None),
        source="hf-peft",
        licence="Apache-2.0",
    )
    longest = known(sequence_length=whole(config.get("max_seq_length")), sequence_length_is_cap=True)
    if trained.get("status") != "success":
        if "out of memory" not in str(section(result, "run_info").get("error_msg")).casefold():
            raise UnusableResult(f"the experiment ended as {text(trained.get('status')) or 'unknown'}, not as success")
        yield Draft(line=line, fields=shared | {"workload": workload | longest, "outcome": "out_of_memory"})
        return
    peak = gib(trained.get("accelerator_memory_max")) or gib(trained.get("cuda_memory_max"))
    if peak is not None:
        reading = {"peak_vram_gib": peak, "vram_metric": "reserved"}
        yield Draft(line=line, fields=shared | reading | {"workload": workload | longest})
    step_time, length = _step_time(trained.get("metrics")), _mean_length(trained.get("metrics"))
    if step_time is not None and length is not None:
        mean = {"sequence_length": length, "sequence_length_is_mean": True}
        yield Draft(line=line, fields=shared | {"step_time_s": step_time, "workload": workload | mean})
    if peak is None and step_time is None:
        raise UnusableResult("the experiment says neither its memory nor its time")


def _method(peft: object) -> dict[str, Any]:
    if peft is None:
        return {"method": "full"}
    adapter = section(peft)
    kind = text(adapter.get("peft_type")) or "unknown"
    if kind != "LORA" or adapter.get("use_dora") is True:
        raise UnusableResult(f"{'DORA' if adapter.get('use_dora') is True else kind} is no method that is predicted")
    modules = adapter.get("target_modules")
    names = [name for name in modules if isinstance(name, str)] if isinstance(modules, list) else text(modules)
    return {"method": "lora", **known(lora_rank=whole(adapter.get("r")), lora_target_modules=names or None)}


def _step_time(metrics: object) -> float | None:
    """The median over intervals of seconds per step."""
    times, before = [], 0
    for entry in _entries(metrics):
        step, seconds = whole(entry.get("step")), positive(entry.get("train time"))
        if step is not None and seconds is not None and step > before:
            times.append(seconds / (step - before))
            before = step
    return statistics.median(times) if times else None


def _mean_length(metrics: object) -> float | None:
    for entry in _entries(metrics):
        tokens, samples = positive(entry.get("train total tokens")), positive(entry.get("train samples"))
        if tokens is not None and samples is not None:
            return tokens / samples
    return None


def _entries(metrics: object) -> list[Mapping[str, object]]:
    return [entry for entry in metrics if isinstance(entry, Mapping)] if isinstance(metrics, list) else []
