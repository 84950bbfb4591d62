"""What an attempt is given comes to the supervisor that asked for it, and to nobody who reads the directory."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from workers.backends.slurm.files import ASKS, SEALED
from workers.backends.slurm.sealed import Asking, answer, ask, asking_key, clear
from workers.supervision.files import read_json, write_json

TOLD = {"secrets": {"TOKEN": "s3cr3t-of-the-house"}, "access": None}
WORDS = json.dumps(TOLD).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An attempt's."""
    made = tmp_path / "an-attempt"
    made.mkdir()
    return made


def test_who_asked_reads_the_answer_and_leaves_nothing(folder: Path) -> None:
    asking = Asking(folder)
    key = asking_key(folder)
    assert key is not None
    assert asking.answer() is None
    answer(folder, key, WORDS)
    assert asking_key(folder) is None  # it is answered
    assert asking.answer() == TOLD
    asking.close()
    assert list(folder.iterdir()) == []
    assert asking_key(folder) is None


def test_the_answer_is_readable_by_its_owner_alone_and_says_nothing_to_them(folder: Path) -> None:
    Asking(folder)
    answer(folder, asking_key(folder) or "", WORDS)
    assert (folder / SEALED).stat().st_mode & 0o777 == 0o600
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"s3cr3t" not in everything
    assert b"TOKEN" not in everything


def test_whoever_has_copied_the_directory_cannot_open_it(folder: Path, tmp_path: Path) -> None:
    asking = Asking(folder)
    answer(folder, asking_key(folder) or "", WORDS)
    copied = tmp_path / "copied" / folder.name
    shutil.copytree(folder, copied)
    asked = read_json(copied / ASKS)
    assert asked is not None
    thief = Asking(copied)  # with a key of its own
    (copied / SEALED).write_bytes((folder / SEALED).read_bytes())
    assert thief.answer() is None  # it is not for it
    forged = read_json(folder / SEALED)
    assert forged is not None
    write_json(copied / SEALED, {**forged, "for": asking_key(copied)}, durable=False)
    assert thief.answer() is None  # nor does saying so help
    assert asking.answer() == TOLD


def test_an_answer_for_another_attempt_opens_nothing(folder: Path, tmp_path: Path) -> None:
    asking = Asking(folder)
    other = tmp_path / "another-attempt"
    other.mkdir()
    answer(other, asking_key(folder) or "", WORDS)
    (folder / SEALED).write_bytes((other / SEALED).read_bytes())
    assert asking.answer() is None


def test_a_job_that_asks_once_more_is_answered_once_more(folder: Path) -> None:
    """As after it was requeued: the first supervisor took its key with it."""
    Asking(folder)
    answer(folder, asking_key(folder) or "", WORDS)
    again = Asking(folder)
    assert again.answer() is None
    key = asking_key(folder)
    assert key is not None
    answer(folder, key, WORDS)
    assert again.answer() == TOLD


def test_it_waits_for_an_answer(folder: Path) -> None:
    looked = threading.Event()
    heard: list[object] = []

    def look() -> bool:
        looked.set()
        return True

    waiting = threading.Thread(target=lambda: heard.append(ask(folder, look)))
    waiting.start()
    assert looked.wait(10)
    answer(folder, asking_key(folder) or "", WORDS)
    waiting.join(10)
    assert heard == [TOLD]
    assert list(folder.iterdir()) == []


def test_it_waits_no_longer_than_it_is_worth_or_is_let(folder: Path) -> None:
    assert ask(folder, lambda: True, patience_s=0.2) is None
    assert ask(folder, lambda: False) is None
    assert list(folder.iterdir()) == []


def test_what_a_late_answer_left_is_cleared(folder: Path) -> None:
    asking = Asking(folder)
    key = asking_key(folder) or ""
    asking.close()
    answer(folder, key, WORDS)
    (folder / f".{SEALED}.draft").touch()
    clear(folder)
    assert list(folder.iterdir()) == []
