"""Paths stay below their directory, whatever they are called and whatever a command has left there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.staging.inside import Inside, OutsidePath


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    """Some files, and links that lead out."""
    root = tmp_path / "root"
    for name in ("out/a.pt", "out/b.txt", "out/deep/er/c.pt", "top.pt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (tmp_path / "secret.pt").write_text("not yours")
    (root / "out" / "link.pt").symlink_to(tmp_path / "secret.pt")
    (root / "away").symlink_to(tmp_path)
    os.mkfifo(root / "out" / "pipe.pt")
    return Inside(root)


HOSTILE = [
    "../secret.pt", "/etc/passwd", "out/../../secret.pt", "..", "", ".", "a\0b", "away/secret.pt", "out/link.pt",
    "out/pipe.pt", "out",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_nothing_outside_is_read(inside: Inside, path: str) -> None:
    with pytest.raises((OutsidePath, FileNotFoundError)), inside.reading(path):
        pass


def test_nothing_outside_is_written(inside: Inside, tmp_path: Path) -> None:
    with pytest.raises(OutsidePath), inside.folder(["away", "new"], make=True):
        pass
    with inside.folder(["out"]) as folder, inside.open_new(folder, "link.pt") as file:
        file.write(b"mine")
    assert (tmp_path / "secret.pt").read_text() == "not yours"
    assert not (tmp_path / "new").exists()
    inside.remove("away/secret.pt")
    assert (tmp_path / "secret.pt").exists()


@pytest.mark.parametrize(
    ("pattern", "found", "base"),
    [
        ("top.pt", ["top.pt"], ""),
        ("./out/a.pt", ["out/a.pt"], "out"),
        ("out", ["out/a.pt", "out/b.txt", "out/deep/er/c.pt"], "out"),
        ("out/*.pt", ["out/a.pt"], "out"),
        ("out/**/*.pt", ["out/a.pt", "out/deep/er/c.pt"], "out"),
        ("**/[bc].*", ["out/b.txt", "out/deep/er/c.pt"], ""),
        ("away/*", [], "away"),
        ("away", [], ""),
        ("nothing/at/all", [], ""),
    ],
)
def test_patterns_name_files_that_are_there(inside: Inside, pattern: str, found: list[str], base: str) -> None:
    assert inside.files(pattern) == (found, base)
