"""Hand an attempt what may rest on no disk, through a directory that is one: sealed for its supervisor alone.

The supervisor, once it is on its node, makes a pair of keys and puts the public one into `asks.json`. The worker that
looks after the attempt then opens what the attempt is given, seals it for that key, and puts it into `sealed.json`. The
supervisor opens it and deletes both files before the command starts.

The private key is never written anywhere, and each sealing has a key of its own besides (X25519, HKDF, then Fernet as
in the vault): what a snapshot or a backup of the directory has caught opens for nobody. Nothing is there at all while
a job waits in Slurm's queue, or after it was cancelled there.
"""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workers.backends.slurm.files import ASKS, SEALED, refresh
from workers.supervision.files import read_json, write_json

PATIENCE_S = 600.0
"""For so long a supervisor waits, on a node that is paid for: as long as an attempt of which no worker hears anything
is kept."""
_FIRST_LOOK_S, _LOOK_GROWTH, _LONGEST_LOOK_S = 0.05, 1.3, 1.0
_PURPOSE = b"pythia: what an attempt is given, 1"


def asking_key(folder: Path) -> str | None:
    """The public key of a supervisor that waits for an answer; None where none does."""
    asks, sealed = read_json(folder / ASKS), read_json(folder / SEALED)
    if asks is None or (sealed is not None and sealed["for"] == asks["key"]):
        return None
    return str(asks["key"])


def answer(folder: Path, key: str, told: bytes) -> None:
    """Put what an attempt is given into its directory, for the holder of a key and nobody else."""
    ours, theirs = X25519PrivateKey.generate(), X25519PublicKey.from_public_bytes(base64.b64decode(key))
    sender = _text(ours.public_key())
    token = _fernet(ours.exchange(theirs), folder.name, key, sender).encrypt(told).decode()
    draft = folder / f".{SEALED}.{uuid.uuid4()}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"for": key, "from": sender, "token": token}, file)
    draft.replace(folder / SEALED)


class Asking:
    """A supervisor's question, from its start to `close`."""

    def __init__(self, folder: Path) -> None:
        """Ask. An answer to an earlier question, as of a job that was put back into the queue, is of no use."""
        self._folder, self._ours = folder, X25519PrivateKey.generate()
        self._key = _text(self._ours.public_key())
        (folder / SEALED).unlink(missing_ok=True)
        write_json(folder / ASKS, {"key": self._key}, durable=False)

    def answer(self) -> dict[str, Any] | None:
        """What the attempt is given; None while nobody has answered."""
        refresh(self._folder)
        sealed = read_json(self._folder / SEALED)
        if sealed is None or sealed["for"] != self._key:
            return None
        theirs = X25519PublicKey.from_public_bytes(base64.b64decode(sealed["from"]))
        opener = _fernet(self._ours.exchange(theirs), self._folder.name, self._key, str(sealed["from"]))
        with suppress(InvalidToken):
            told: dict[str, Any] = json.loads(opener.decrypt(str(sealed["token"]).encode()))
            return told
        return None

    def close(self) -> None:
        """Leave neither the question nor an answer behind: in this order, or a worker would answer once more."""
        clear(self._folder)


def ask(folder: Path, look: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> dict[str, Any] | None:
    """Ask and wait; None where nobody answers in time, or `look`, called meanwhile, says that nobody shall."""
    asking, until, pause_s = Asking(folder), time.monotonic() + patience_s, _FIRST_LOOK_S
    try:
        while (told := asking.answer()) is None and look() and time.monotonic() < until:
            time.sleep(pause_s)
            pause_s = min(pause_s * _LOOK_GROWTH, _LONGEST_LOOK_S)
        return told
    finally:
        asking.close()


def clear(folder: Path) -> None:
    """Delete what was asked and answered in an attempt's directory."""
    for path in (folder / ASKS, folder / SEALED, *folder.glob(f".{SEALED}.*")):
        path.unlink(missing_ok=True)


def _fernet(shared: bytes, attempt_id: str, asker: str, sender: str) -> Fernet:
    about = b"\0".join((_PURPOSE, attempt_id.encode(), asker.encode(), sender.encode()))
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=about).derive(shared)
    return Fernet(base64.urlsafe_b64encode(derived))


def _text(key: X25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()
