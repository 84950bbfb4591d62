"""Traces are read whole or refused with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from scheduler.replay.errors import InvalidTrace
from scheduler.replay.trace import read_trace
from tests.scheduler.replay.worlds import write_trace


def test_jobs_are_sorted_by_submission_on_a_clock_that_begins_with_the_first(tmp_path: Path) -> None:
    trace = read_trace(write_trace(tmp_path / "t.csv", ["b,200,2,30", "a,100,1,10", "c,200,4,20"]))
    assert trace.ids == ("a", "b", "c")
    assert trace.submit_s.tolist() == [0.0, 100.0, 100.0]
    assert trace.gpu_count.tolist() == [1, 2, 4]
    assert trace.duration_s.tolist() == [10.0, 30.0, 20.0]


def test_a_part_of_a_gpu_counts_as_one_and_other_columns_are_ignored(tmp_path: Path) -> None:
    header = "user,job_id,duration_s,submit_s,gpu_count"
    trace = read_trace(write_trace(tmp_path / "t.csv", ["ann,a,60,0,0.46"], header))
    assert trace.gpu_count.tolist() == [1]


def test_jobs_that_never_ran_or_had_no_gpu_are_left_out_and_counted(tmp_path: Path) -> None:
    trace = read_trace(write_trace(tmp_path / "t.csv", ["a,0,1,", "b,0,1,0", "c,0,0,60", "d,5,1,60"]))
    assert trace.ids == ("d",)
    assert trace.left_out == {"no GPU": 1, "no duration": 2}


def test_a_gzipped_trace_reads_the_same(tmp_path: Path) -> None:
    plain = write_trace(tmp_path / "t.csv", ["a,0,1,60", "b,1,2,5"])
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_trace(packed).duration_s.tolist() == read_trace(plain).duration_s.tolist()


def test_the_first_jobs_of_a_trace_are_its_earliest(tmp_path: Path) -> None:
    trace = read_trace(write_trace(tmp_path / "t.csv", ["late,9,1,60", "soon,1,1,60"]))
    assert trace.first(1).ids == ("soon",)
    assert len(trace.first(99)) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,0,1", "t.csv line 3: 3 values for 4 columns"),
        ("a,x,1,60", "t.csv line 3: submit_s is 'x', not a number"),
        ("a,-1,1,60", "t.csv line 3: submit_s is -1, must be between 0 and 1e+09"),
        ("a,0,-2,60", "t.csv line 3: gpu_count is -2, must be between 0 and 100000"),
        ("a,0,1,-60", "t.csv line 3: duration_s is -60, must be between 0 and 1e+09"),
        ("a,0,1,nan", "t.csv line 3: duration_s is nan, must be between 0 and 1e+09"),
        ("a,inf,1,60", "t.csv line 3: submit_s is inf, must be between 0 and 1e+09"),
        ("a,0,1e9,60", "t.csv line 3: gpu_count is 1e9, must be between 0 and 100000"),
        (",0,1,60", "t.csv line 3: job_id is empty"),
        ("first,0,1,60", "t.csv line 3: job_id 'first' repeats line 2"),
    ],
)
def test_a_line_that_cannot_be_true_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InvalidTrace) as caught:
        read_trace(write_trace(tmp_path / "t.csv", ["first,0,1,60", line]))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "t.csv line 1: column job_id is missing or repeated"),
        (b"job_id,submit_s,gpu_count\n", "t.csv line 1: column duration_s is missing or repeated"),
        (b"job_id,submit_s,gpu_count,duration_s,job_id\n", "t.csv line 1: column job_id is missing or repeated"),
        (b"job_id,submit_s,gpu_count,duration_s\n", "t.csv holds no job that ran on a GPU"),
        (b"job_id,submit_s,gpu_count,duration_s\n\xff,0,1,6\n", "not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidTrace, match=said):
        read_trace(path)


def test_damaged_and_missing_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "t.csv.gz"
    broken.write_bytes(gzip.compress(b"job_id,submit_s,gpu_count,duration_s\na,0,1,60\n")[:-9])
    with pytest.raises(InvalidTrace, match="damaged gzip"):
        read_trace(broken)
    with pytest.raises(InvalidTrace, match="cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")
