"""When requests come: made-up days have the mean, the peak and the lengths asked; traces are read as they are."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import InvalidSpec
from scheduler.economics.traffic import Shape, Traffic, rates_of_day, synthetic_day
from scheduler.economics.traffic_file import InvalidTraffic, read_traffic


def day(shape: Shape = Shape.DAY, mean: float = 3.0, peak: float = 8.0, seed: int = 1) -> Traffic:
    return synthetic_day(
        shape, mean_rps=mean, peak_rps=peak, input_length=1000, output_length=200, length_cv=1.0, seed=seed
    )


@given(st.sampled_from([Shape.DAY, Shape.OFFICE]), st.floats(0.01, 100), st.floats(1.0, 2.5))
def test_a_day_has_the_mean_and_the_peak_asked(shape: Shape, mean: float, over: float) -> None:
    rates = rates_of_day(shape, mean_rps=mean, peak_rps=mean * over)
    assert rates.mean() == pytest.approx(mean, rel=1e-6)
    assert rates.max() == pytest.approx(mean * over, rel=1e-3)
    assert rates.min() >= 0


def test_a_made_up_day_comes_out_as_asked() -> None:
    made = day()
    # 259,200 requests: a count's standard deviation is 0.2 % of it, a mean length's (cv 1) as much; 1 % is five
    assert len(made) == pytest.approx(3 * 86_400, rel=0.01)
    assert made.input_tokens.mean() == pytest.approx(1000, rel=0.01)
    assert made.output_tokens.std() == pytest.approx(200, rel=0.03)
    assert (np.diff(made.arrival_s) >= 0).all()
    assert 0 <= made.arrival_s[0] <= made.arrival_s[-1] < made.horizon_s == 86_400


def test_the_same_seed_is_the_same_day() -> None:
    assert (day(seed=4).arrival_s == day(seed=4).arrival_s).all()
    assert len(day(seed=4)) != len(day(seed=5))


def test_an_office_sleeps_at_night() -> None:
    hours = np.histogram(day(Shape.OFFICE).arrival_s, 24, (0, 86_400))[0]
    assert hours[10:16].min() > 5 * hours[:5].max()


def test_work_is_relative_to_the_mean_request() -> None:
    made = day()
    assert made.work(0.3).mean() == pytest.approx(1.0)
    prompts = made.work(1.0)
    assert prompts[0] == pytest.approx(made.input_tokens[0] / made.input_tokens.mean())


@pytest.mark.parametrize(
    ("shape", "mean", "peak", "said"),
    [
        (Shape.DAY, 3, 2, "below mean_rps"),
        (Shape.FLAT, 3, 4, "flat"),
        (Shape.OFFICE, 1, 30, "at most"),
        (Shape.FLAT, 1e-9, 1e-9, "without any request"),
    ],
)
def test_a_day_that_cannot_be_is_one_sentence(shape: Shape, mean: float, peak: float, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        day(shape, mean, peak)


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    if name.endswith(".gz"):
        with gzip.open(file, "wt") as stream:
            stream.write(text)
    else:
        file.write_text(text)
    return file


CSV = "timestamp,input_tokens,model,output_tokens\n5.5,100,a,10\n3.5,300,b,0\n"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_trace_is_put_in_order(tmp_path: Path, name: str) -> None:
    read = read_traffic(written(tmp_path, name, CSV))
    assert read.arrival_s.tolist() == [0, 2]
    assert read.input_tokens.tolist() == [300, 100]
    assert read.horizon_s == 4.0  # two requests, two seconds apart


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_json_lines_with_times_of_day(tmp_path: Path, name: str) -> None:
    rows = [
        {"timestamp": "2026-11-01T10:00:00+01:00", "input_tokens": 10, "output_tokens": 3},
        {"timestamp": "2026-11-01T09:00:01Z", "input_tokens": 20, "output_tokens": 4, "user": "x"},
    ]
    read = read_traffic(written(tmp_path, name, "\n".join(map(json.dumps, rows)) + "\n"))
    assert read.arrival_s.tolist() == [0, 1]
    assert read.output_tokens.tolist() == [3, 4]


HEAD = "timestamp,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "", "line 1: column timestamp"),
        ("t.csv", "timestamp,input_tokens\n1,2\n", "line 1: column output_tokens"),
        ("t.csv", HEAD, "no request"),
        ("t.csv", HEAD + "1,2\n", "line 2: 2 values for 3 columns"),
        ("t.csv", HEAD + "1,2,3\nsoon,2,3\n", "line 3: timestamp is 'soon'"),
        ("t.csv", HEAD + "-1,2,3\n", "line 2: timestamp"),
        ("t.csv", HEAD + "nan,2,3\n", "line 2: timestamp"),
        ("t.csv", HEAD + "1,0,3\n", "line 2: input_tokens"),
        ("t.csv", HEAD + "1,2,many\n", "line 2: output_tokens is 'many', not a number"),
        ("t.csv", HEAD + "1,inf,3\n", "line 2: input_tokens"),
        ("t.csv", HEAD + "0,2,3\n9e9,2,3\n", "days"),
        ("t.csv", HEAD + '1,"2,3\n', "line 2: not readable as CSV"),
        ("t.jsonl", '{"timestamp": 1}\n', "line 1: input_tokens is None"),
        ("t.jsonl", "\n[1]\n", "line 2: not a JSON object"),
        ("t.jsonl", "{\n", "line 1: not JSON"),
        ("t.jsonl", "[" * 100_000 + "\n", "line 1: not JSON"),
        ("t.jsonl", '{"timestamp": true, "input_tokens": 1, "output_tokens": 1}\n', "line 1: timestamp"),
        ("t.jsonl", f'{{"timestamp": 1, "input_tokens": {"9" * 400}, "output_tokens": 1}}\n', "line 1: input_tokens"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InvalidTraffic, match=said) as refused:
        read_traffic(written(tmp_path, name, text))
    assert len(str(refused.value)) < 250


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(HEAD.encode() + b"\xff\xfe,1,1\n")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode())[:20])
    for name, said in (
        ("t.csv", "line 2: not UTF-8"),
        ("t.csv.gz", "line 1: damaged gzip"),
        ("none.csv", "cannot be read"),
    ):
        with pytest.raises(InvalidTraffic, match=said):
            read_traffic(tmp_path / name)


@pytest.mark.parametrize("name", ["azure2023_conv", "azure2023_code", "mooncake_conversation", "mooncake_synthetic"])
def test_real_traces_are_read(name: str) -> None:
    folder = os.environ.get("PYTHIA_REQUEST_TRACES_DIR")
    if not folder:
        pytest.skip("PYTHIA_REQUEST_TRACES_DIR names no folder of request traces")
    read = read_traffic(Path(folder) / f"{name}.csv.gz")
    assert len(read) > 3000
    assert 1000 < read.horizon_s < 4000  # a quarter of an hour to an hour of requests
