"""MLPerf Training results: a run's log of `:::MLLOG` lines, or the CSV of MLCommons' result summarizer.

Used of a log (one run):
- `submission_benchmark`: fixes the model and the sequence length; `submission_org`, `submission_platform`: where it ran
- `global_batch_size`, `max_sequence_length`, `gradient_accumulation_steps`, `lora_rank`, `opt_name`
- `block_start`, `block_stop`: training between two evaluations, in milliseconds, with the `samples_count` reached;
  a step's time is their sum over the samples, so evaluation and start-up are left out
- `number_of_nodes`, `accelerators_per_node`: in some logs; elsewhere the GPU count is given with `layout.gpu_count`
Used of the CSV (one row per system): `accelerator_model_name`, `accelerators_count`, `framework`, and minutes to
converge in a column for each benchmark. How much training that took is not in it, so a language model's row needs
`--set llama2_70b_lora:workload.num_samples=…` and more; what is no language model becomes a custom job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from predictor.importers.csv_rows import csv_rows
from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected, UnusableResult
from predictor.importers.gpu_names import gpu_type_named
from predictor.importers.values import known, number, parse_json, positive, section, text, whole

MARK = ":::MLLOG"

# what the training rules fix for the closed division (mlcommons/training_policies, and each benchmark's reference)
BENCHMARKS: Mapping[str, Mapping[str, Any]] = {
    "llama2_70b_lora": {"model": "meta-llama/Llama-2-70b-hf", "method": "lora", "sequence_length": 8192},
    "llama31_405b": {"model": "meta-llama/Llama-3.1-405B", "method": "full", "sequence_length": 8192},
    "llama31_8b": {"model": "meta-llama/Llama-3.1-8B", "method": "full", "sequence_length": 8192},
    "gpt3": {"model": "paper/gpt3-175b", "method": "full", "sequence_length": 2048},
}
_CONVERGED_CSV = {"accelerator_model_name", "accelerators_count", "framework", "submitter"}
_NO_BENCHMARK = _CONVERGED_CSV | {
    "division", "availability", "system", "number_of_nodes", "host_processor_model_name", "host_processors_count",
    "notes", "details_url", "code_url", "public_id", "id",
}  # fmt: skip


def recognises(document: Document) -> bool:
    """Log lines of MLPerf, or the summarizer's columns."""
    if any(line.lstrip().startswith(MARK) for _, line in document.lines[:1000]):
        return True
    return document.header >= _CONVERGED_CSV


def read(document: Document) -> Iterator[Item]:
    """The run of a log, or one draft per time in a summary."""
    if any(MARK in line for _, line in document.lines):
        yield from _log(document)
    else:
        yield from _summary(document)


def _log(document: Document) -> Iterator[Item]:
    said: dict[str, object] = {}
    started: float | None = None
    train_ms = 0.0
    samples = first_line = 0
    for line, written in document.lines:
        _, mark, body = written.partition(MARK)
        if not mark:
            continue
        first_line = first_line or line
        try:
            event = section(parse_json(body.strip()))
        except ValueError as error:
            yield Rejected(line, f"the {MARK} line is no JSON: {error}")
            continue
        key, now = text(event.get("key")), number(event.get("time_ms"))
        if key == "block_start":
            started = now
        elif key == "block_stop" and started is not None and now is not None:
            train_ms += max(0.0, now - started)
            samples = max(samples, whole(section(event, "metadata").get("samples_count")) or 0)
            started = None
        elif key is not None:
            said.setdefault(key, event.get("value"))
    try:
        yield _run(first_line, said, train_ms / 1000, samples)
    except UnusableResult as error:
        yield Rejected(first_line, str(error))


def _run(line: int, said: Mapping[str, object], train_s: float, samples: int) -> Draft:
    name = text(said.get("submission_benchmark"))
    batch = whole(said.get("global_batch_size"))
    if name is None or not train_s or not samples or batch is None:
        raise UnusableResult(
            "the log lacks submission_benchmark, global_batch_size, or block_start … block_stop with samples_count"
        )
    nodes, per_node = whole(said.get("number_of_nodes")), whole(said.get("accelerators_per_node"))
    fields: dict[str, Any] = known(
        layout={"gpu_count": nodes * per_node} if nodes and per_node else None,
        software=known(scenario=text(said.get("submission_platform"))),
        source=f"mlperf-training-{(text(said.get('submission_org')) or 'unknown').casefold()}",
        licence="Apache-2.0",
    )
    if name not in BENCHMARKS:
        features = {"global_batch_size": batch, "samples": samples}
        fields["workload"] = {"type": "custom", "kind": f"mlperf-training-{name}", "features": features}
        return Draft(line=line, label=name, fields=fields | {"runtime_s": train_s})
    fixed = dict(BENCHMARKS[name])
    fixed["sequence_length"] = whole(said.get("max_sequence_length")) or fixed["sequence_length"]
    fields["workload"] = fixed | known(
        type="training",
        global_batch_size=batch,
        lora_rank=whole(said.get("lora_rank")) if fixed["method"] == "lora" else None,
        optimizer=(text(said.get("opt_name")) or "adamw").casefold(),
        precision_unstated=True,
    )
    return Draft(line=line, label=name, fields=fields | {"step_time_s": train_s / (samples / batch)})


def _summary(document: Document) -> Iterator[Item]:
    rows = list(csv_rows(document.text or ""))
    # a column is a benchmark's if any row has a time in it: submitters add columns of their own
    benchmarks = {
        name
        for found in rows
        if not isinstance(found, Rejected)
        for name, cell in found[1].items()
        if name not in _NO_BENCHMARK and ":" not in name and positive(cell) is not None
    }
    for found in rows:
        if isinstance(found, Rejected):
            yield found
            continue
        line, row = found
        measured = [name for name in row if name in benchmarks]
        if not measured:
            yield Rejected(line, "the row has no time to converge in any benchmark's column")
        for name in measured:
            minutes = positive(row[name])
            if minutes is None:
                yield Rejected(line, f"{name}: {row[name]!r:.40} is no time in minutes")
            else:
                yield _time_to_converge(line, row, name, minutes)


def _time_to_converge(line: int, row: Mapping[str, str], name: str, minutes: float) -> Draft:
    count, framework = whole(row.get("accelerators_count")), text(row.get("framework"))
    fields: dict[str, Any] = known(
        gpu_type=gpu_type_named(text(row.get("accelerator_model_name"))),
        layout={"gpu_count": count} if count else None,
        software=known(version=framework),
        source="mlperf-training-summary",
        licence="Apache-2.0",
        runtime_s=60 * minutes,
    )
    if name in BENCHMARKS:
        fields["workload"] = {"type": "training", "precision_unstated": True, **BENCHMARKS[name]}
    else:
        fields["workload"] = {"type": "custom", "kind": f"mlperf-training-{name}", "features": known(engine=framework)}
    return Draft(line=line, label=name, fields=fields)
