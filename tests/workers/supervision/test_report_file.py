"""A job may write anything into its report; only credible numbers are read from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.supervision.report_file import JobReport, read_report

NOTHING = JobReport()


def read(tmp_path: Path, content: bytes) -> JobReport:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    return read_report(path)


def test_both_peaks_are_read(tmp_path: Path) -> None:
    content = b'{"peak_allocated_gib": 10, "peak_reserved_gib": 12.5, "steps": 7}'
    assert read(tmp_path, content) == JobReport(10.0, 12.5)


@pytest.mark.parametrize(
    "value", ["-1", "0", "NaN", "Infinity", "1e7", '"10"', "true", "null", "[10]", "{}", "1" + "0" * 400]
)
def test_what_is_no_credible_memory_is_left_out(tmp_path: Path, value: str) -> None:
    content = f'{{"peak_allocated_gib": {value}, "peak_reserved_gib": 2}}'.encode()
    assert read(tmp_path, content) == JobReport(None, 2.0)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"7", b"\xff\xfe", b"[" * 60_000, b'{"peak_allocated_gib": ' + b" " * 70_000 + b"1}"]
)
def test_a_malformed_or_huge_report_says_nothing(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == NOTHING


def test_an_absent_report_says_nothing(tmp_path: Path) -> None:
    assert read_report(tmp_path / "none") == NOTHING


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"peak_allocated_gib": 1}')
    (tmp_path / "report.json").symlink_to("other.json")
    assert read_report(tmp_path / "report.json") == NOTHING


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == NOTHING


def test_a_directory_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    assert read_report(tmp_path / "report.json") == NOTHING


@given(content=st.binary(max_size=200))
def test_no_content_is_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    report = read(tmp_path_factory.getbasetemp(), content)
    assert report.peak_allocated_gib is None or report.peak_allocated_gib > 0
