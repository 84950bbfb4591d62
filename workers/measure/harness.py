"""Climb the ladders within a time box, write each observation as it is made, and take up where a run stopped."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictor.errors import PythiaError
from workers.measure.cases import SECONDS_OF_A_CASE, Case, Ladder

Runner = Callable[[Case, str, float], Mapping[str, Any]]
"""Case, device (`cuda` or `cpu`), seconds allowed -> what was measured; `outcome` says how it ended."""


@dataclass(frozen=True, slots=True)
class Device:
    """The one device that is measured."""

    name: str
    """`cuda` or `cpu`, as PyTorch says it."""
    gpu_type: str
    """As the catalogue names it; `CPU` for a smoke run."""
    total_gib: float | None
    """All memory that the driver reports; None on the CPU."""


@dataclass(slots=True)
class Tally:
    """What a call of the harness did."""

    completed: int = 0
    out_of_memory: int = 0
    failed: int = 0
    already_known: int = 0


class MeasuringEnded(PythiaError):
    """The process that runs the cases is gone, and none of them can go on."""

    code = "measuring_ended"


class CaseServer:
    """Runs cases through `workers.measure.case`, one process for the imports and a fork of it for each case."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> CaseServer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workers.measure.case"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # CUDA puts the fastest card first unless told; the driver, which named the card, goes by the bus
            env={
                **os.environ,
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                "HF_HUB_OFFLINE": "1",
                "PYTHONWARNINGS": "ignore::FutureWarning",
            },
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __call__(self, case: Case, device: str, seconds: float) -> Mapping[str, Any]:
        """What the case measured; a crash or a time-out is an outcome, not an exception."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("a CaseServer runs cases inside its `with` block")
        asked = {"family": case.shape.family, "workload": dict(case.workload), "device": device, "seconds": seconds}
        with contextlib.suppress(BrokenPipeError):  # it ended before it was asked; that it says nothing tells
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
        said = process.stdout.readline()
        if not said:
            raise MeasuringEnded(f"the measuring process ended with exit code {process.wait()}")
        return dict(json.loads(said))


def measure(
    ladders: list[Ladder],
    device: Device,
    out: Path,
    *,
    minutes: float,
    say: Callable[[str], None],
    runner: Runner,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Climb each ladder to its first out-of-memory (or time-out), appending observations to `out`.

    Cases that `out` already holds are not run again, and an out-of-memory it holds ends its ladder
    as a fresh one would. Nothing is started that the time box would cut short by less than a second.
    """
    known = _outcomes(out)
    end = clock() + minutes * 60
    tally = Tally()
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as lines:
        for ladder in ladders:
            for case in ladder.cases:
                outcome = known.get(case.key)
                if outcome is not None:
                    tally.already_known += 1
                else:
                    left = end - clock()
                    if left < 1:
                        return tally
                    outcome = _one(case, device, lines, min(left, SECONDS_OF_A_CASE), runner, say, tally)
                    if outcome == "timeout" and left < SECONDS_OF_A_CASE:
                        return tally  # the time box cut it short, which says nothing of the case
                if outcome != "completed":
                    break  # a larger batch would only run out of memory, or of time, again
    return tally


def _one(
    case: Case, device: Device, lines: Any, seconds: float, runner: Runner, say: Callable[[str], None], tally: Tally
) -> str:
    result = runner(case, device.name, seconds)
    outcome = str(result["outcome"])
    say(f"{outcome:<14} {_label(case)}" + (f": {result['error']}" if outcome == "failed" else ""))
    if outcome not in ("completed", "out_of_memory"):
        tally.failed += 1
        return outcome
    lines.write(json.dumps(observation(case, device, result)) + "\n")
    lines.flush()
    os.fsync(lines.fileno())  # a machine that is taken away keeps what was measured
    tally.completed += outcome == "completed"
    tally.out_of_memory += outcome == "out_of_memory"
    return outcome


def observation(case: Case, device: Device, result: Mapping[str, Any]) -> dict[str, object]:
    """The row as `pythia train` reads it; peaks in GiB, the driver's reading as the peak."""
    workload = dict(case.workload)
    if workload["type"] == "training":
        workload["engine"] = "transformers"
    row: dict[str, object] = {
        "id": f"pythia-measure/{case.key}",
        "source": "pythia_measure",
        "licence": "Apache-2.0",
        "workload": workload,
        "gpu_type": device.gpu_type,
        "layout": {"gpu_count": 1},
        "software": {"engine": "transformers", "version": str(result.get("version", ""))},
        "outcome": result["outcome"],
        "simulated": False,
    }
    for name in ("tokens_per_second", "step_time_s", "peak_allocated_gib", "peak_reserved_gib"):
        if name in result:
            row[name] = round(float(result[name]), 6)
    if device.total_gib is not None and "driver_growth_gib" in result:
        context = device.total_gib - float(result["context_free_gib"])
        held = float(result["driver_growth_gib"]) + float(result.get("freed_gib", 0.0))
        row["peak_vram_gib"] = round(context + held, 6)
        row["vram_metric"] = "driver"
    return row


def _label(case: Case) -> str:
    work = case.workload
    words = [str(work["type"]), f"{case.shape.num_parameters / 1e9:.2g}B", str(work["precision"])]
    if work["type"] == "training":
        words += [str(work["method"]), str(work["optimizer"]), f"seq {work['sequence_length']}"]
        words += [f"batch {work['micro_batch_size']}", f"checkpointing {work['gradient_checkpointing']}"]
    else:
        words += [f"{work['input_length']} in", f"{work['output_length']} out", f"batch {work['max_batch_size']}"]
    return ", ".join(words)


def _outcomes(path: Path) -> dict[str, str]:
    """Outcome by case key of an earlier run's file; a last line cut off by a crash is left to be measured again."""
    if not path.exists():
        return {}
    known: dict[str, str] = {}
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines():
        try:
            row = json.loads(line)
            known[str(row["id"]).removeprefix("pythia-measure/")] = str(row["outcome"])
        except (ValueError, KeyError, TypeError):
            continue
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return known
