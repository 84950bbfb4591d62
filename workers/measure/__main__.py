"""`python -m workers.measure`: measure on the GPU that is here, or smoke-test the harness on the CPU."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

from predictor.errors import PythiaError
from predictor.hardware import load_gpu_types
from workers.measure.cases import ladders
from workers.measure.devices import find_device
from workers.measure.harness import CaseServer, measure

NEEDED = ("torch", "transformers", "peft")


def main() -> int:
    """Measure until the grid or the time is at its end; 2 when it cannot begin."""
    parser = argparse.ArgumentParser(prog="pythia measure", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("observations.jsonl"), help="observations are appended here")
    parser.add_argument("--minutes", type=float, default=10.0, help="stop after this long")
    parser.add_argument("--seed", type=int, default=0, help="order of the grid")
    parser.add_argument("--cpu", action="store_true", help="smoke-test the harness on the CPU")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    if not 0 < arguments.minutes < math.inf:
        return _refuse("--minutes takes a number above 0")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return _refuse(f"{', '.join(missing)} not installed; run: pip install 'pythia-scheduler[measure]'")
    try:
        device = find_device(load_gpu_types(), cpu=arguments.cpu)
        # progress goes to standard error, so that standard output stays for --json
        with CaseServer() as run:
            tally = measure(
                ladders(cpu=device.name == "cpu", seed=arguments.seed),
                device,
                arguments.out,
                minutes=arguments.minutes,
                say=lambda line: print(line, file=sys.stderr, flush=True),
                runner=run,
            )
    except PythiaError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{arguments.out} cannot be written: {error.strerror}")
    except KeyboardInterrupt:
        return _refuse(f"stopped; what was measured is in {arguments.out}, and the same command goes on from there")
    if arguments.json:
        print(json.dumps(asdict(tally) | {"gpu_type": device.gpu_type, "out": str(arguments.out)}))
    else:
        print(
            f"{device.gpu_type}: {tally.completed} completed, {tally.out_of_memory} out of memory, "
            f"{tally.failed} failed, {tally.already_known} known before; observations in {arguments.out}"
        )
    return 0 if tally.completed or tally.already_known else 1


def _refuse(sentence: str) -> int:
    print(f"pythia measure: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
