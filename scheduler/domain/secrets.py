"""What a secret may be called and hold, and what can be wrong with one. Its value is in no message."""

from __future__ import annotations

import re

from predictor.errors import PythiaError

LONGEST_VALUE_BYTES = 32 * 1024
"""The environment of a process is no place for more: Linux takes 128 KiB for one variable, and all share a limit."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class InvalidSecret(PythiaError):
    """A secret's name or value cannot be stored."""

    code = "invalid_secret"


class UnknownSecret(PythiaError):
    """A job asks for a secret that its tenant has not stored."""

    code = "unknown_secret"

    def __init__(self, name: str) -> None:
        super().__init__(f"no secret named {name} is stored; store it with `pythia secrets set {name}`")
        self.name = name


class SecretsUnavailable(PythiaError):
    """The installation has no key that opens secrets."""

    code = "secrets_unavailable"


def check_secret(name: str, value: str) -> None:
    """InvalidSecret where it cannot be handed to a command in its environment."""
    if not re.fullmatch(NAME, name):
        raise InvalidSecret("a secret's name has letters, digits, '.', '_' and '-', begins with one of the first two")
    if not value:
        raise InvalidSecret("the value is empty; delete the secret if it is no longer needed")
    if "\0" in value:
        raise InvalidSecret("the value holds a NUL character, which no environment variable can")
    if len(value.encode(errors="surrogatepass")) > LONGEST_VALUE_BYTES:
        raise InvalidSecret(f"the value is longer than {LONGEST_VALUE_BYTES:,} bytes; keep it as a file elsewhere")
