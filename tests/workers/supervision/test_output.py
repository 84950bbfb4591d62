"""Capped streams: what is kept, what is read back, and that nothing is read twice or left out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.attempt import LogChunk
from workers.backends.output import PIECE_BYTES, read_output
from workers.supervision.output import OutputWriter, segment_bytes

CAP = 64
writes = st.lists(st.text(alphabet="abcñ→😀\n", min_size=1, max_size=30), max_size=40)


def read(folder: Path, since: int, *, ended: bool) -> list[LogChunk]:
    return read_output(folder, "stdout", since, cap_bytes=CAP, ended=ended)


@given(parts=writes)
def test_the_kept_bytes_are_the_beginning_and_the_end_and_never_more_than_the_cap(parts: list[str]) -> None:
    whole = "".join(parts).encode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = OutputWriter(folder, "stdout", CAP)
        for part in parts:
            writer.write(part.encode())
        writer.close()
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert sum(map(len, kept.values())) <= CAP
        size = segment_bytes(CAP)
        for segment, data in kept.items():
            first = int(segment.removeprefix("stdout.")) * size
            assert whole[first : first + size] == data
        if whole:
            assert "stdout.0" in kept
            assert f"stdout.{(len(whole) - 1) // size}" in kept


@given(parts=writes, looks=st.sets(st.integers(0, 40)))
def test_chunks_follow_each_other_and_stand_for_every_byte(parts: list[str], looks: set[int]) -> None:
    whole = "".join(parts).encode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = OutputWriter(folder, "stdout", CAP)
        position = 0
        for number, part in enumerate(parts):
            writer.write(part.encode())
            for chunk in read(folder, position, ended=False) if number in looks else []:
                assert chunk.offset == position
                position += chunk.size
                # what is read live is whole characters, and from the part that is never cut
                assert chunk.text.encode() == whole[chunk.offset : position]
                assert position <= 2 * segment_bytes(CAP)
        for chunk in read(folder, position, ended=True):
            assert chunk.offset == position
            position += chunk.size
            said = whole[chunk.offset : position].decode(errors="replace")
            assert chunk.text in (said, f"\n[{chunk.size:,} bytes were cut here]\n")
        assert position == len(whole)


def test_a_gap_says_how_much_it_hides(tmp_path: Path) -> None:
    writer = OutputWriter(tmp_path, "stdout", CAP)
    writer.write(b"a" * 32 + b"-" * 68 + b"z" * 20)
    assert [(chunk.offset, chunk.size) for chunk in read(tmp_path, 0, ended=True)] == [(0, 32), (32, 64), (96, 24)]
    assert read(tmp_path, 0, ended=True)[1].text == "\n[64 bytes were cut here]\n"


def test_what_is_no_text_is_shown_as_such_and_counted_as_it_was(tmp_path: Path) -> None:
    OutputWriter(tmp_path, "stdout", CAP).write(b"ok \xff\xfe\n")
    (chunk,) = read(tmp_path, 0, ended=True)
    assert (chunk.size, chunk.text) == (6, "ok \ufffd\ufffd\n")


def test_a_file_of_the_commands_that_looks_like_a_segment_is_passed_by(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_text("not ours")
    assert read(tmp_path, 0, ended=True) == []


def test_much_output_comes_in_pieces_of_whole_lines(tmp_path: Path) -> None:
    text = "".join(f"step {number} läuft\n" for number in range(12_000)) + "→" * PIECE_BYTES
    OutputWriter(tmp_path, "stdout", 8 * 2**20).write(text.encode())
    chunks = read_output(tmp_path, "stdout", 0, cap_bytes=8 * 2**20, ended=False)
    assert "".join(chunk.text for chunk in chunks) == text
    assert max(chunk.size for chunk in chunks) <= PIECE_BYTES
    assert [chunk.offset for chunk in chunks[1:]] == [chunk.offset + chunk.size for chunk in chunks[:-1]]
    lines = [chunk for chunk in chunks if "step" in chunk.text]
    assert len(lines) > 3
    assert all(chunk.text.endswith("\n") for chunk in lines[:-1])
