"""Any table becomes observations once its columns have names; units are converted, bad rows are named."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from predictor.importers.draft import InvalidResults
from tests.predictor.importers.result_files import read, the_reason, the_row

NAMED = (
    "gpu_type,layout.gpu_count,workload.type,workload.model,workload.method,workload.sequence_length,"
    "workload.micro_batch_size,workload.global_batch_size,software.version,peak_vram_gib,step_time_s,note\n"
)
ROW = "H100-SXM,1,training,meta-llama/Llama-3.1-8B,lora,4096,2,2,2.9,31.5,0.75,first\n"
COLUMNS = {
    "gpu_type": "gpu",
    "layout.gpu_count": "n",
    "workload.model": "hf_id",
    "workload.sequence_length": "config.seq_len",
    "peak_vram_mib": "mem",
    "step_time_ms": "ms",
}
REST = {
    "workload.type": "training",
    "workload.method": "full",
    "workload.micro_batch_size": 1,
    "workload.global_batch_size": 1,
}


def test_columns_that_are_named_as_fields_need_no_map(tmp_path: Path) -> None:
    imported = read(tmp_path, NAMED + ROW, "runs.csv")
    row = the_row(imported)
    assert imported.format == "table"
    assert (row["peak_vram_gib"], row["step_time_s"], row["workload"]["sequence_length"]) == (31.5, 0.75, 4096)
    assert row["software"]["version"] == "2.9", "a version is no number"
    assert "note" not in row
    assert (row["outcome"], row["simulated"], row["source"]) == ("completed", False, "runs")


def test_other_columns_are_read_where_the_map_names_them(tmp_path: Path) -> None:
    run = {
        "gpu": "L40S",
        "n": 1,
        "hf_id": "meta-llama/Llama-3.2-3B",
        "config": {"seq_len": 512},
        "mem": 10240,
        "ms": 250,
    }
    row = the_row(read(tmp_path, run, columns=COLUMNS, given=REST))
    assert (row["peak_vram_gib"], row["step_time_s"]) == (10.0, 0.25)
    assert row["workload"]["sequence_length"] == 512


def test_bad_rows_are_named_by_line_and_the_rest_goes_in(tmp_path: Path) -> None:
    table = NAMED + ROW + ROW.replace("H100-SXM", "H100") + ROW.replace("31.5", "9999") + "x" + "," * 20 + "\n" + ROW
    imported = read(tmp_path, table, "runs.csv")
    assert imported.lines == (2, 6)
    assert [one.line for one in imported.rejected] == [3, 4, 5]
    ambiguous, absurd, long = (one.reason for one in imported.rejected)
    assert "several variants" in ambiguous
    assert "more than a H100-SXM holds" in absurd
    assert "21 cells" in long


def test_equal_measurements_are_repeats_and_equal_files_the_same_rows(tmp_path: Path) -> None:
    twice = read(tmp_path, NAMED + ROW + ROW, "runs.csv", given={"source": "lab"})
    again = read(tmp_path, NAMED + ROW, "copy.csv", given={"source": "lab"})
    first, second = (row["id"] for row in twice.rows)
    assert second == f"{first}-2"
    assert again.rows[0]["id"] == first


def test_a_row_may_carry_its_own_id_even_a_number(tmp_path: Path) -> None:
    assert the_row(read(tmp_path, "id," + NAMED + "17," + ROW, "runs.csv"))["id"] == "17"


def test_a_cell_that_is_no_number_is_named_by_its_column(tmp_path: Path) -> None:
    run = {"gpu": "L40S", "n": 1, "hf_id": "meta-llama/Llama-3.2-3B", "mem": "lots"}
    assert "mem is 'lots', not a number" in the_reason(read(tmp_path, run, columns=COLUMNS, given=REST))


def test_an_unsaid_layout_is_asked_for(tmp_path: Path) -> None:
    table = (NAMED + ROW).replace("layout.gpu_count", "cards")
    assert "--set layout.gpu_count=8" in the_reason(read(tmp_path, table, "runs.csv"))


def test_a_simulated_row_stays_simulated(tmp_path: Path) -> None:
    assert "is simulated" in the_reason(read(tmp_path, "simulated," + NAMED + "true," + ROW, "runs.csv"))
    with pytest.raises(InvalidResults, match="teaches nothing"):
        read(tmp_path, NAMED + ROW, "runs.csv", given={"simulated": False})


@pytest.mark.parametrize("field", ["gpu", "workloads.model", "llama2-70b:gpu"])
def test_a_field_that_no_observation_has_is_refused_at_once(tmp_path: Path, field: str) -> None:
    with pytest.raises(InvalidResults, match="no field of an observation"):
        read(tmp_path, NAMED + ROW, "runs.csv", given={field: "H100-SXM"})
    with pytest.raises(InvalidResults, match="no field of an observation"):
        read(tmp_path, NAMED + ROW, "runs.csv", columns={field: "note"})


def test_observations_themselves_are_taken_as_they_are(tmp_path: Path) -> None:
    row = {
        "id": "a", "source": "lab", "workload": {"type": "custom", "kind": "resnet"}, "gpu_type": "CPU",
        "outcome": "completed", "simulated": False, "runtime_s": 3.0,
    }  # fmt: skip
    lines = "\n".join([json.dumps(row), "{oops", "[1]", json.dumps(row | {"id": "b", "simulated": True})])
    imported = read(tmp_path, gzip.compress(lines.encode()), "rows.jsonl.gz")
    assert imported.format == "observations"
    assert imported.rows == (row,)
    assert [one.line for one in imported.rejected] == [2, 3, 4]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InvalidResults, match=r"pip install 'pythia-scheduler\[parquet\]'"):
        read(tmp_path, b"PAR1 and more", "runs.parquet")


def test_parquet_reads_like_any_table(tmp_path: Path) -> None:
    arrow: Any = pytest.importorskip("pyarrow", reason="pyarrow is not installed, and Parquet is optional")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    runs = [
        {
            "gpu": "L40S",
            "n": 1,
            "hf_id": "meta-llama/Llama-3.2-3B",
            "config": {"seq_len": 512},
            "mem": 1024.0,
            "ms": 250,
        },
        {"gpu": "L40S", "n": 1, "hf_id": "no/such-model", "config": {"seq_len": 512}, "mem": float("nan"), "ms": 250},
    ]
    parquet.write_table(arrow.Table.from_pylist(runs), tmp_path / "source.parquet")
    data = (tmp_path / "source.parquet").read_bytes()
    imported = read(tmp_path, data, "runs.parquet", columns=COLUMNS, given=REST)
    assert imported.rows[0]["peak_vram_gib"] == 1.0
    assert [one.line for one in imported.rejected] == [2]
    with pytest.raises(InvalidResults, match="no readable Parquet"):
        read(tmp_path, data[: len(data) // 2], "half.parquet")
