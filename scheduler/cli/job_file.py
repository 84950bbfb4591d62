"""Read job specs and questionnaires as people keep them: YAML files, with a model's config.json beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from scheduler.domain.errors import InvalidSpec

STDIN = "-"
MAX_BYTES = 4 * 2**20
"""A job spec is a page of text; a file larger than this is something else."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that keeps timestamps as text (the spec reads them itself) and refuses a repeated key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for index, key in enumerate(keys) if key in keys[:index]]
        if repeated:
            raise yaml.MarkedYAMLError(problem=f"{repeated[0]!r} stands there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_job_file(name: str) -> dict[str, Any]:
    """The job spec in a YAML (or JSON) file, `-` being standard input; InvalidSpec says what is wrong with it."""
    raw = read_mapping(name, "no job spec: it must be a mapping with name, workload and run")
    workload = raw.get("workload")
    if isinstance(workload, dict) and isinstance(model := workload.get("model"), str) and model.endswith(".json"):
        raw = raw | {"workload": workload | {"model": read_model_beside(None if name == STDIN else name, model)}}
    return raw


def read_mapping(name: str, otherwise: str) -> dict[str, Any]:
    """The mapping in a YAML (or JSON) file, `-` being standard input; `otherwise`: what a file without one holds."""
    return _parse(name, _text(name), otherwise)


def read_model_beside(file: str | None, model: str) -> dict[str, Any]:
    """The config.json whose path another file names, relative to that file; None: to where we are."""
    return _config((Path() if file is None else Path(file).parent) / model)


def read_model(name: str) -> str | dict[str, Any]:
    """A model as it is given on the command line: an id, or the config.json whose path it is."""
    return _config(Path(name)) if name.endswith(".json") else name


def _text(name: str) -> str:
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if name == STDIN else _head(Path(name))
    except OSError as error:
        raise InvalidSpec(f"{name} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise InvalidSpec(f"{name} is larger than {MAX_BYTES // 2**20} MiB; that is no page of text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidSpec(f"{name} is not UTF-8 text") from None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _parse(name: str, text: str, otherwise: str) -> dict[str, Any]:
    try:
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - the loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}" if mark else ""
        raise InvalidSpec(f"{name}{where}: {error.problem or 'not readable as YAML'}") from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise InvalidSpec(f"{name} is not readable as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise InvalidSpec(f"{name} holds {otherwise}")
    return raw


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidSpec(f"workload.model names {path}, which cannot be read as JSON ({error})") from None
    if not isinstance(config, dict):
        raise InvalidSpec(f"workload.model names {path}, which is not a Hugging Face config.json")
    return config
