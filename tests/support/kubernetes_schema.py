"""The published schema of Kubernetes' objects (the files that `kubernetes-validate` carries), read once a version."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema.validators import Draft202012Validator
from referencing import Registry, Resource


def complaint(body: Mapping[str, Any], version: str = "1.34") -> str | None:
    """What the schema has against an object, unknown fields included; None where it has nothing."""
    # a plain copy: the validator wants JSON and nothing else
    error = next(_validator(body["kind"], body["apiVersion"], version).iter_errors(json.loads(json.dumps(body))), None)
    return None if error is None else f"{error.json_path}: {error.message}"


@cache
def _validator(kind: str, api_version: str, version: str) -> Draft202012Validator:
    group, _, own = api_version.partition("/")
    file = "-".join(filter(None, (kind.lower(), group.partition(".")[0], own)))  # the core's group has no name
    package = importlib.resources.files("kubernetes_validate")
    folder = package / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    schema, definitions = (
        Resource.from_contents(json.loads((folder / name).read_text()))
        for name in (f"{file}.json", "_definitions.json")
    )
    registry: Registry[Any] = definitions @ (schema @ Registry())
    return Draft202012Validator(schema.contents, registry=registry)
