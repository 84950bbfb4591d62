"""What the page for users shows of a spec can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from scheduler.domain.spec import parse_job_spec

PAGE = Path(__file__).parents[2] / "docs" / "using.md"
RUNS = [
    block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    if block.startswith("run:")
]  # fmt: skip


def test_the_page_shows_secrets_and_files() -> None:
    assert {name for block in RUNS for name in yaml.safe_load(block)["run"]} >= {"secrets", "inputs", "outputs"}


@pytest.mark.parametrize("block", RUNS)
def test_shown_run_is_read(block: str) -> None:
    spec = parse_job_spec({"workload": {"type": "custom", "kind": "x", "runtime_s": 1}, **yaml.safe_load(block)})
    assert spec.run is not None
