"""How much and how long: VRAM and runtime of a workload on a layout of GPUs, with honest intervals."""
