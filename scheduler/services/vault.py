"""Seal secrets and open them again, with keys from a file that is no part of the database.

The file holds one key a line, made by `new_key`: the first seals, each of them opens, so keys can be changed while jobs
run. A sealed secret names its tenant and itself inside, so a row that is copied to
another tenant opens nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from scheduler.domain.secrets import SecretsUnavailable
from scheduler.embedded.keys import write_private


@dataclass(frozen=True, slots=True)
class Vault:
    """The keys of an installation; read when they are needed, so a new one counts at once."""

    key_file: Path | None

    def seal(self, tenant_id: UUID, name: str, value: str) -> str:
        """Encrypt and sign."""
        inside = json.dumps({"tenant": str(tenant_id), "name": name, "value": value})
        return self._keys().encrypt(inside.encode()).decode()

    def open(self, tenant_id: UUID, name: str, sealed: str) -> str:
        """The value again; SecretsUnavailable where no key of ours has sealed it, or not under this name."""
        try:
            inside = json.loads(self._keys().decrypt(sealed.encode()))
        except InvalidToken:
            raise SecretsUnavailable(
                f"no key in {self.key_file} opens the secret {name}; put the key back that it was sealed with"
            ) from None
        if (inside["tenant"], inside["name"]) != (str(tenant_id), name):
            raise SecretsUnavailable(f"the secret {name} was sealed under another name; set it again")
        return str(inside["value"])

    def _keys(self) -> MultiFernet:
        if self.key_file is None:
            raise SecretsUnavailable("this installation keeps no secrets: no key file is configured")
        try:
            lines = self.key_file.read_text(encoding="ascii").split()
            return MultiFernet([Fernet(line) for line in lines])
        except FileNotFoundError:
            raise SecretsUnavailable(
                f"there is no key for secrets at {self.key_file}; make one with `pythia db secrets-key`, "
                "or set PYTHIA_SECRETS_KEY_FILE to the file that holds it"
            ) from None
        except (OSError, ValueError) as error:  # of ours no line: never show what is in the file
            what = error.strerror if isinstance(error, OSError) else "it must hold one key a line"
            raise SecretsUnavailable(f"the keys in {self.key_file} cannot be used: {what}") from None


def new_key(key_file: Path, *, seals: bool = True) -> None:
    """Put a new key in front of those in a file that its owner alone can read, or behind them: there it opens what
    others seal with it, and seals nothing yet. The file is made where there is none."""
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = _lines(key_file) if key_file.exists() else []
    key = Fernet.generate_key().decode()
    _write(key_file, [key, *keys] if seals else [*keys, key])


def use_last_key(key_file: Path) -> None:
    """Put the last key in front: from now on it seals."""
    keys = _lines(key_file)
    _write(key_file, keys[-1:] + keys[:-1])


def drop_old_keys(key_file: Path) -> int:
    """Leave only the first key; how many were dropped."""
    first, *older = _lines(key_file)
    _write(key_file, [first])
    return len(older)


def _lines(key_file: Path) -> list[str]:
    return key_file.read_text(encoding="ascii").split()


def _write(key_file: Path, keys: list[str]) -> None:
    write_private(key_file, "\n".join(keys) + "\n")
