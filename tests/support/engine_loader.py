"""Read task files with the engines' own loaders, in their environment, not in ours: `python engine_loader.py FOLDER`.

Prints a line of JSON for each file of the folder, in the order of their names: what the engine understood.
"""

# ruff: noqa: PLC0415 - each engine is loaded only by its own reader

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def read_dstack(path: Path) -> dict[str, Any]:
    """As `dstack apply -f` does before it asks the server."""
    import yaml
    from dstack._internal.core.models.configurations import parse_apply_configuration
    from dstack._internal.core.services import is_valid_dstack_resource_name
    from dstack._internal.utils.interpolator import VariablesInterpolator
    from gpuhunt._internal.constraints import KNOWN_AMD_GPUS, KNOWN_NVIDIA_GPUS

    task = parse_apply_configuration(yaml.safe_load(path.read_text()))
    gpu, interpolate = task.resources.gpu, VariablesInterpolator({}).interpolate_or_error
    known = KNOWN_NVIDIA_GPUS if gpu.vendor.value == "nvidia" else KNOWN_AMD_GPUS
    return {
        "type": task.type,
        "name_is_valid": is_valid_dstack_resource_name(task.name),
        "image": task.image,
        "commands": [interpolate(command) for command in task.commands],
        "env": {name: interpolate(said) if isinstance(said, str) else None for name, said in task.env.root.items()},
        "gpu": [[one.name, one.memory] for one in known if one.name in gpu.name and _within(one.memory, gpu.memory)],
        "gpu_count": [gpu.count.min, gpu.count.max],
        "backends": [backend.value for backend in task.backends],
        "regions": task.regions,
        "instance_types": task.instance_types,
        "spot": task.spot_policy.value,
        "max_price": task.max_price,
        "max_duration_s": task.max_duration if isinstance(task.max_duration, int) else None,
        "nodes": task.nodes or 1,
    }


def _within(memory: float, asked: Any) -> bool:
    return bool(asked.min <= memory <= asked.max)


def read_skypilot(path: Path) -> dict[str, Any]:
    """As `sky launch` does before it asks a cloud."""
    import sky
    from sky.provision.runpod.utils import GPU_NAME_MAP

    task = sky.Task.from_yaml(str(path))
    (resources,) = task.resources
    return {
        "image": None if resources.image_id is None else next(iter(resources.image_id.values())),
        "run": task.run,
        "env": task.envs,
        "secrets": sorted(task.secrets),
        "cloud": str(resources.cloud).casefold(),
        "region": resources.region,
        "instance_type": resources.instance_type,
        "gpu": resources.accelerators,
        "runpod": sorted(GPU_NAME_MAP),
        "spot": resources.use_spot,
        "max_price": resources.max_hourly_cost,
        "down": resources.autostop_config.down,
        "nodes": task.num_nodes,
    }


def main() -> None:
    """Read all; a file that is refused is an error with its own words."""
    for path in sorted(Path(sys.argv[1]).iterdir()):
        read = read_dstack if path.name.startswith("dstack") else read_skypilot
        try:
            answer = read(path)
        except Exception as error:  # whatever an engine raises is what its user would see
            answer = {"error": f"{type(error).__name__}: {error}"}
        print("read " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
