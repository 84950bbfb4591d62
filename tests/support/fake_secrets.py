"""The Secrets of a `FakeCluster`, as its API server and its garbage collector treat them."""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.kubernetes_schema import complaint

Object = dict[str, Any]

MOST_BYTES = 1024 * 1024
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_FROZEN = ("data", "immutable", "type")


class Refused(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


@dataclass
class FakeSecrets:
    """All of one namespace."""

    versions: Iterator[int]
    there: dict[str, Object] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    """Names of all that ever were."""

    def create(self, body: Object) -> Object:
        name = body["metadata"].get("name", "")
        _check(body)
        if name in self.there:
            raise Refused(409, "AlreadyExists", f'secrets "{name}" already exists')
        secret = copy.deepcopy(body)
        number = next(self.versions)
        secret["metadata"] |= {"uid": f"uid-{number}", "resourceVersion": str(number)}
        self.there[name] = secret
        self.made.append(name)
        return secret

    def get(self, name: str) -> Object:
        if name not in self.there:
            raise Refused(404, "NotFound", f'secrets "{name}" not found')
        return self.there[name]

    def patch(self, name: str, change: Object) -> Object:
        secret = self.get(name)
        changed = merged(copy.deepcopy(secret), change)
        _check(changed)
        if secret.get("immutable") and any(changed.get(part) != secret.get(part) for part in _FROZEN):
            raise Refused(422, "Invalid", "data: Forbidden: field is immutable when `immutable` is set")
        changed["metadata"]["resourceVersion"] = str(next(self.versions))
        self.there[name] = changed
        return changed

    def delete(self, name: str) -> None:
        self.get(name)
        del self.there[name]

    def collect_garbage(self, living: set[str]) -> None:
        """What has owners, none of whom is there any more, goes."""
        for name, secret in list(self.there.items()):
            owners = secret["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in living for owner in owners):
                del self.there[name]

    def value(self, name: str, key: str) -> str | None:
        """As a kubelet reads it for a container."""
        data = self.there.get(name, {}).get("data", {})
        return base64.b64decode(data[key]).decode() if key in data else None


def _check(body: Object) -> None:
    wrong = complaint(body)
    data = body.get("data") or {}
    if wrong is None:
        wrong = next((f"data[{key}]: no valid key" for key in data if not _KEY.fullmatch(key)), None)
    try:
        size = sum(len(base64.b64decode(value, validate=True)) for value in data.values())
    except binascii.Error:
        raise Refused(400, "BadRequest", "illegal base64 data") from None
    if wrong is None and size > MOST_BYTES:
        wrong = f"data: Too long: may not be more than {MOST_BYTES} bytes"
    if wrong is not None:
        raise Refused(422, "Invalid", f"Secret is invalid: {wrong}")


def merged(whole: Object, change: Object) -> Object:
    """A JSON merge patch, RFC 7386."""
    for key, value in change.items():
        if value is None:
            whole.pop(key, None)
        elif isinstance(value, dict):
            whole[key] = merged(whole.get(key) or {}, value)
        else:
            whole[key] = value
    return whole
