"""Make a row whole: what its file said, what its user gave, and nothing that neither did.

What is given wins over what the file says, since a served name or a local path is not always a model's id.
A thing that decides memory or time and that nobody said is asked for, never assumed.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from predictor.importers.draft import Draft, InvalidResults, UnusableResult
from predictor.importers.values import from_cell
from predictor.telemetry import PREALLOCATED, ObservationSpec
from predictor.workloads.spec import CustomSpec

GRABS_THE_CARD = ("vllm", "sglang")
"""Engines whose reading is what they took up front, which is never a need."""

_TEXTS = frozenset(
    {"id", "source", "licence", "gpu_type", "rank", "workload.model", "workload.kind", "workload.optimizer",
     "workload.engine", "software.engine", "software.version", "software.kernels", "software.scenario"}
)  # fmt: skip
"""Fields that stay text where they look like a number (a version, a model's name)."""

_ALWAYS = ("workload.type", "gpu_type", "layout.gpu_count")
_DECIDES = {
    "training": ("workload.model", "workload.method", "workload.sequence_length", "workload.micro_batch_size"),
    "inference": ("workload.model", "workload.engine", "workload.input_length", "workload.output_length"),
    "custom": ("workload.kind",),
}
_CUSTOM = frozenset(CustomSpec.model_fields)
_TIMES = ("step_time_s", "tokens_per_second", "runtime_s")
_SIZES = ("num_steps", "num_samples", "num_tokens")
_EXAMPLES = {"gpu_type": "H100-SXM", "layout.gpu_count": "8", "workload.method": "lora", "workload.engine": "vllm"}


def check_given(given: Mapping[str, object]) -> None:
    """Refuse a field that no observation has, before any row is read."""
    for key in given:
        root = key.rpartition(":")[2].split(".")[0]
        if root not in ObservationSpec.model_fields:
            raise InvalidResults(
                f"{key!r:.80} is no field of an observation; it begins with workload, gpu_type, layout …"
            )
        if root == "simulated":
            raise InvalidResults("simulated cannot be given: a result file of a simulation teaches nothing")


def complete(draft: Draft, given: Mapping[str, object], *, source: str) -> dict[str, Any]:
    """The row with what was given for it; UnusableResult names the first thing that nobody said."""
    row = as_given(draft, given)
    for name, value in (("outcome", "completed"), ("simulated", False), ("source", source)):
        row.setdefault(name, value)
    if draft.derive is not None:
        draft.derive(row)
    if look_up(row, "workload.type") == "custom":  # what a reader knows of trainings is no field of another job
        row["workload"] = {name: value for name, value in row["workload"].items() if name in _CUSTOM}
    elif look_up(row, "workload.precision") is not None:
        row["workload"].pop("precision_unstated", None)
    _require(row, draft.label)
    _size(row)
    _mark_preallocated(row)
    row.setdefault("id", _fingerprint(row))
    return row


def as_given(draft: Draft, given: Mapping[str, object]) -> dict[str, Any]:
    """The row with what was given for it, and nothing more."""
    row: dict[str, Any] = copy.deepcopy(dict(draft.fields))
    for key, value in sorted(given.items(), key=lambda item: ":" in item[0]):  # what is meant for one label wins
        label, _, path = key.rpartition(":")
        if not label or label == draft.label:
            place(row, path, value)
    return row


def place(row: dict[str, Any], path: str, value: object) -> None:
    """Set a dotted path; text becomes a number, a flag or a list where the field is no text."""
    if isinstance(value, str) and path not in _TEXTS:
        value = from_cell(value)
    elif path in _TEXTS and not isinstance(value, Mapping | list):
        value = str(value)
    *parents, last = path.split(".")
    inner = row
    for name in parents:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UnusableResult(f"{path} cannot be set, since {name} is {inner!r:.60} and not a mapping")
    inner[last] = value


def look_up(row: Mapping[str, Any], path: str) -> object:
    """The value at a dotted path; None where the path ends early."""
    value: object = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _require(row: Mapping[str, Any], label: str) -> None:
    kind = look_up(row, "workload.type")
    needed = [*_ALWAYS, *(_DECIDES.get(kind, ()) if isinstance(kind, str) else ())]
    timed = row["outcome"] == "completed" and any(row.get(name) is not None for name in _TIMES)
    if kind == "training" and timed:
        needed.append("workload.global_batch_size")
    for path in needed:
        if look_up(row, path) is None:
            example = _EXAMPLES.get(path, "…")
            scope = f"{label}:" if label and path.startswith("workload.") else ""
            raise UnusableResult(f"the file does not say {path}; give it with --set {scope}{path}={example}")


def _size(row: dict[str, Any]) -> None:
    """A measured step stands for itself; a whole run needs to say how long it was."""
    workload = row["workload"]
    if workload["type"] != "training" or any(workload.get(name) is not None for name in _SIZES):
        return
    if row.get("runtime_s") is not None and row.get("step_time_s") is None:
        raise UnusableResult("runtime_s says nothing without the run's size; give --set workload.num_steps=…")
    workload["num_steps"] = 1


def _mark_preallocated(row: dict[str, Any]) -> None:
    engine = look_up(row, "workload.engine") or look_up(row, "software.engine")
    if row.get("peak_vram_gib") is not None and str(engine).casefold().startswith(GRABS_THE_CARD):
        row["vram_metric"] = PREALLOCATED


def _fingerprint(row: Mapping[str, Any]) -> str:
    """Equal for equal content, so that a file read twice under two names teaches nothing twice."""
    canonical = json.dumps(row, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]
