"""What the jobs of a trace are taken to be: a mix of workloads with shares, from `datasets/replay_mix.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from predictor.facts import datasets_dir
from predictor.workload import InferenceWorkload, Software, TrainingWorkload
from predictor.workloads.spec import ModelSource, WorkloadSpec, first_sentence, resolve
from scheduler.replay.errors import InvalidReplay


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    share: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    workload: WorkloadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One workload of the mix."""

    name: str
    share: float
    workload: TrainingWorkload | InferenceWorkload


def read_mix(models: ModelSource, path: Path | None = None) -> tuple[Part, ...]:
    """The parts of a mix, by default the one that ships; InvalidReplay where one cannot be read."""
    path = path or datasets_dir() / "replay_mix.yaml"
    try:
        lines = TypeAdapter(list[_Line]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InvalidReplay(f"{path.name}: {first_sentence(error, 'mix')}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidReplay(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from None
    parts = []
    for line in lines:
        workload = resolve(line.workload, models, Software())
        if not isinstance(workload, TrainingWorkload | InferenceWorkload):
            raise InvalidReplay(f"{path.name}: {line.name} is custom work, which has no forecast without a history")
        parts.append(Part(name=line.name, share=line.share, workload=workload))
    if not parts:
        raise InvalidReplay(f"{path.name} holds no workload")
    return tuple(parts)
