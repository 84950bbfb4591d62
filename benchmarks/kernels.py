"""`python -m benchmarks.kernels`: tune what is believed of a site before it has measured anything (site/kernel.py).

For each source a training on all others forecasts it; the kernel of a task is the one by which these sources are
learned best. Needs PYTHIA_OBSERVATIONS_DIR, a folder of observations; ten minutes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import fields
from pathlib import Path

from predictor.architectures.catalogue import load_models
from predictor.evaluation.learning_curve import site_bases, site_pupils
from predictor.features import Task
from predictor.hardware import load_gpu_types
from predictor.learned.samples import samples
from predictor.site.kernel import Kernel
from predictor.site.tune import tune
from predictor.telemetry_files import read_telemetry

SEED = 7


def main() -> int:
    folder = os.environ.get("PYTHIA_OBSERVATIONS_DIR")
    if not folder:
        print("Set PYTHIA_OBSERVATIONS_DIR to a folder of observations to run this benchmark.", file=sys.stderr)
        return 2
    observations = read_telemetry(Path(folder), load_models(), load_gpu_types()).observations
    for task in Task:
        every = samples(task, observations)
        pupils = site_pupils(every, site_bases(task, every, SEED))
        if len(pupils) < 2:
            print(f"{task}: too few sources to tell what sites have in common")
            continue
        kernel = tune(task, list(pupils.values()))
        values = ", ".join(f"{field.name}={getattr(kernel, field.name):.3g}" for field in fields(Kernel))
        print(f"{task}: {values}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
