"""Fill an empty inventory: the shipped prices on the simulated backend, and this host: `python -m workers.offer_host`.

In `workers`, since only they can ask the driver which GPUs are here.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

from predictor.errors import PythiaError, UnknownGpuType
from predictor.hardware import load_gpu_types
from scheduler.services.inventory import is_empty
from scheduler.services.seed import HostGpus, seed_inventory
from scheduler.settings import load_settings
from scheduler.storage.engine import make_engine
from workers.measure.devices import gpu_type_of
from workers.supervision.gpus import open_nvml


def host_gpus() -> list[HostGpus]:
    """The GPUs of this host by type; a card that the catalogue does not know is left out and named on stderr."""
    nvml = open_nvml()
    if nvml is None:
        return []
    counts: Counter[str] = Counter()
    for card in nvml.gpus():
        try:
            counts[gpu_type_of(card.name, card.total_gib, load_gpu_types())] += 1
        except UnknownGpuType as error:
            print(f"pythia: this host's card is not offered: {error}", file=sys.stderr)
    return [HostGpus(gpu_type=gpu_type, count=count) for gpu_type, count in counts.items()]


def main() -> int:
    """Leave an inventory that has any offer as it is: what was disabled or changed stays so."""
    engine = make_engine(load_settings().require_database_url(), pool_size=1)
    try:
        if is_empty(engine):
            seed_inventory(engine, host_slots=os.cpu_count() or 1, host_gpus=host_gpus())
    except PythiaError as error:
        print(f"pythia: {error}", file=sys.stderr)
        return 2
    finally:
        engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
