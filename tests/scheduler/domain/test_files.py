"""Inputs and outputs of a spec: read as written, and refused with a sentence where they could lead astray."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.domain.errors import InvalidSpec
from scheduler.domain.spec import JobSpec, parse_job_spec


def spec(**run: Any) -> JobSpec:
    raw = {"workload": {"type": "custom", "kind": "x", "runtime_s": 1}, "run": {"command": ["true"], **run}}
    return parse_job_spec(raw)


def test_files_are_read_and_written_as_people_write_them() -> None:
    run = spec(
        inputs=[{"from": "s3://box/data/", "to": "data"}, {"from": "s3://box/w.pt", "to": "w.pt", "sha256": "a" * 64}],
        outputs=[{"from": "out/*.pt", "to": "s3://box/run/"}],
    ).run
    assert run is not None
    assert run.model_dump(mode="json", exclude_unset=True)["inputs"][0] == {"from": "s3://box/data/", "to": "data"}
    assert run.outputs[0].source == "out/*.pt"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"inputs": [{"from": "/etc/passwd", "to": "x"}]}, "run.inputs.0.from"),
        ({"inputs": [{"from": "file:///etc/passwd", "to": "x"}]}, "must look like s3://bucket/folder/file"),
        ({"inputs": [{"from": "s3://box", "to": "x"}]}, "run.inputs.0.from"),
        ({"inputs": [{"from": "s3://../x", "to": "x"}]}, "run.inputs.0.from"),
        ({"inputs": [{"from": "s3://box/x", "to": "../x"}]}, "below the working directory"),
        ({"inputs": [{"from": "s3://box/x", "to": "a/../../x"}]}, "below the working directory"),
        ({"inputs": [{"from": "s3://box/x", "to": "/x"}]}, "below the working directory"),
        ({"inputs": [{"from": "s3://box/x", "to": "a\0b"}]}, "NUL"),
        ({"inputs": [{"from": "s3://box/x", "to": "x", "sha256": "abc"}]}, "run.inputs.0.sha256"),
        ({"inputs": [{"from": "s3://box/x/", "to": "x", "sha256": "a" * 64}]}, "sha256 is of one file"),
        ({"inputs": [{"source": "s3://box/x", "to": "x"}]}, "run.inputs.0"),
        ({"inputs": [{"from": "s3://box/x"}]}, "run.inputs.0.to"),
        ({"outputs": [{"from": "../x", "to": "s3://box/x"}]}, "below the working directory"),
        ({"outputs": [{"from": "*.pt", "to": "s3://box/x"}]}, "so to must end with '/'"),
        ({"outputs": [{"from": "x", "to": "https://b/x"}]}, "run.outputs.0.to"),
        ({"inputs": [{"from": "s3://box/x", "to": "x"}] * 1001}, "run.inputs"),
    ],
)
def test_what_could_lead_astray_is_refused(line: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        spec(**line)
    assert says in str(refused.value)
