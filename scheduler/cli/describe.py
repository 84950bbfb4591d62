"""A job spec in one line, saying what its user said and nothing that was assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scheduler.cli.wording import count, duration, moment, usd

Json = Mapping[str, Any]

DEFAULT_MAX_GPUS = 8

_METHODS = {"full": "full fine-tune", "lora": "LoRA", "qlora": "QLoRA"}
_OPTIMIZERS = {"adamw": "AdamW", "adamw_8bit": "8-bit AdamW", "adafactor": "Adafactor", "sgd": "SGD", "muon": "Muon"}


def job_line(spec: Json) -> str:
    """What the job is: `llama-3.1-8b full fine-tune, bf16, 8-bit AdamW, seq 4096, micro-batch 2, 1.8M samples`."""
    workload = spec["workload"]
    return _WORDS[workload["type"]](workload)


def objective_line(spec: Json) -> str:
    """What the best placement is."""
    return "shortest time" if spec.get("objective") == "time" else "min expected cost"


def constraints_line(spec: Json) -> str:
    """The constraints that the user set, and the asked probability of fitting."""
    constraints = spec.get("constraints") or {}
    parts = [
        say(constraints[name])
        for name, say in _CONSTRAINTS.items()
        if constraints.get(name) not in (None, [], "any", "forbid", DEFAULT_MAX_GPUS)
    ]
    fit = constraints.get("min_fit_probability", 0.95)
    return ", ".join([*parts, f"P(fit) ≥ {fit:g}"])


def _training(workload: Json) -> str:
    said = [f"{_model(workload)} {_METHODS[workload.get('method', 'full')]}", workload.get("precision")]
    if rank := workload.get("lora_rank"):
        said.append(f"rank {rank}")
    if optimizer := workload.get("optimizer"):
        said.append(_OPTIMIZERS.get(optimizer, optimizer))
    if length := workload.get("sequence_length"):
        said.append(f"seq {length:g}")
    if batch := workload.get("micro_batch_size"):
        said.append(f"micro-batch {batch}")
    if batch := workload.get("global_batch_size"):
        said.append(f"global batch {batch}")
    if (checkpointing := workload.get("gradient_checkpointing")) not in (None, "none"):
        said.append(f"{checkpointing} checkpointing")
    said += [f"{count(workload[f'num_{unit}'])} {unit}" for unit in _UNITS if workload.get(f"num_{unit}")]
    return _joined(said)


_UNITS = ("steps", "samples", "tokens")


def _inference(workload: Json) -> str:
    said = [f"{_model(workload)} inference", workload.get("precision"), f"{count(workload['num_requests'])} requests"]
    lengths = [
        f"{workload[key]:g} {word}"
        for key, word in (("input_length", "in"), ("output_length", "out"))
        if workload.get(key) is not None
    ]
    if lengths:
        said.append(f"{' + '.join(lengths)} tokens")
    said.append(workload.get("engine"))
    return _joined(said)


def _custom(workload: Json) -> str:
    said = [f"{workload['kind']} (custom)"]
    said += [f"{name} {_short(value)}" for name, value in (workload.get("features") or {}).items()]
    if (vram := workload.get("vram_gib")) is not None:
        said.append(f"{vram:g} GiB by its user")
    if (runtime := workload.get("runtime_s")) is not None:
        said.append(f"{duration(runtime)} by its user")
    return _joined(said)


_WORDS: dict[str, Callable[[Json], str]] = {"training": _training, "inference": _inference, "custom": _custom}


def _short(value: object) -> str:
    return count(value) if isinstance(value, int | float) and abs(value) >= 1000 else f"{value}"


def _joined(said: Sequence[str | None]) -> str:
    return ", ".join(part for part in said if part)


def _model(workload: Json) -> str:
    model = workload["model"]
    if isinstance(model, str):
        return model.rpartition("/")[2]
    if parameters := model.get("num_parameters"):
        return f"{count(parameters)}-parameter model"
    return str(model.get("model_type") or "given architecture")


def _listed(values: list[str]) -> str:
    return " or ".join(values)


_CONSTRAINTS: dict[str, Callable[[Any], str]] = {
    "gpu_types": _listed,
    "exclude_gpu_types": lambda names: f"not {_listed(names)}",
    "gpu_count": lambda gpus: f"{gpus} GPU{'s' if gpus > 1 else ''}",
    "max_gpus": lambda gpus: f"at most {gpus} GPU{'s' if gpus > 1 else ''}",
    "layout": lambda layout: "layout " + " ".join(f"{name}={value}" for name, value in layout.items()),
    "providers": _listed,
    "regions": _listed,
    "jurisdictions": _listed,
    "provider_jurisdictions": lambda names: f"provider from {_listed(names)}",
    "tenancy": lambda tenancy: f"{tenancy} machine",
    "spot": lambda spot: "spot only" if spot == "require" else "spot allowed",
    "deadline": lambda deadline: f"deadline {moment(deadline)}",
    "max_cost_usd": lambda amount: f"max ${usd(str(amount))}",
    "out_of_memory_usd": lambda amount: f"a crash reckoned at ${usd(str(amount))}",
    "max_runtime_s": lambda seconds: f"at most {duration(seconds)}",
    "max_runtime_over_p90": lambda multiple: f"at most {multiple:g} × p90",
}
