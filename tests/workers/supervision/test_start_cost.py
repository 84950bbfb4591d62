"""A supervisor stands beside every running job: it must start at once and weigh little."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"pydantic", "sqlalchemy", "celery", "kombu", "numpy", "lightgbm", "structlog", "psutil", "pynvml", "boto3"}


def test_a_command_is_started_before_anything_heavy_is_imported() -> None:
    code = "import sys, workers.nursery as n; [n.importlib.import_module(one) for one in n.LOADED]; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(modules)
