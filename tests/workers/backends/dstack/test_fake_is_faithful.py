"""The server that other tests play answers in forms that dstack's own models read, and ends jobs as dstack does."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.dstack_server import MISSING, PYTHON, ROOT
from tests.support.fake_dstack import ENDS_AS, FakeDstack
from tests.support.fake_dstack_server import FakeServer
from tests.workers.backends.dstack.works import make_cloud_work
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.task import run_name

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason=MISSING)

PAGE = (ROOT / "docs" / "clouds.md").read_text(encoding="utf-8")


@pytest.fixture
def read(live: Dstack, cloud: FakeDstack, fake: FakeServer, tmp_path: Path) -> dict[str, Any]:
    """What dstack makes of every answer in a few lives."""
    for reason in ("done_by_runner", "container_exited_with_error", "max_duration_exceeded"):
        work = make_cloud_work(node_gpus=1, gpu_count=2)
        handle, run = live.start(work), run_name(work.attempt_id)
        live.poll(handle)
        cloud.rented(run, spot=True)
        live.list()
        cloud.running(run)
        cloud.prints(run, b"CUDA \xe2\x82\xac\n")
        live.poll(handle)
        live.collect(handle, {}, ended=False)
        cloud.ends_by(run, reason, "said", code=1)
        live.poll(handle)
        live.release(work.machine.key if work.machine else "")
    stopped = live.locate(make_cloud_work().attempt_id)
    live.stop(stopped, hard=True)
    live.poll(stopped)
    cloud.ahead = timedelta(days=2)
    live.list()
    file = tmp_path / "answers"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in fake.answers))
    done = subprocess.run(
        [PYTHON, ROOT / "tests" / "support" / "dstack_models.py", file],
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.partition("read ")[2])
    return answer


def test_dstack_reads_every_answer_and_knows_every_end(read: dict[str, Any]) -> None:
    assert read["refused"] == []
    assert min(read["read"].values()) >= 3, "each kind was asked for"
    ends = {reason: end for reason, end in read["reasons"].items() if end != "failed"}
    assert ends == ENDS_AS
    told = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    assert set(read["reasons"]) - told == set(), "the page says what becomes of each"
