"""How long a job takes before its work begins: the process, the weights, the engine's preparations.

A rented machine starts with cold disks. The constants give 23 s for a pod with a 12 GB model, the median cold start
of a published trace of serving pods (Alibaba GenAI 2026; its 95th percentile is twice that).
"""

from __future__ import annotations

import numpy as np

from predictor.columns import InferenceColumns, TrainingColumns
from predictor.fact_columns import GpuColumns, LayoutColumns
from predictor.gather import Floats

PROCESS_S = 14.0
"""Interpreter, imports, a context on each card."""
RENDEZVOUS_S = 1.5
"""Finding each other, per doubling of the cards."""
STORAGE_BYTES_S = 1.5e9
"""Of one machine, from network storage or a cloud's local disk."""
GRAPH_S = 20.0
"""Capturing CUDA graphs and compiling, where an engine does."""


def training_startup_s(c: TrainingColumns) -> Floats:
    """Seconds until the first step; weights are read in 16 bits, or as quantised."""
    each = np.where(c.quantized, c.base_bytes, np.minimum(c.base_bytes, 2.0))
    return _started(c.layout) + _loaded(c.model.parameters * each, c.layout, c.gpu)


def inference_startup_s(c: InferenceColumns) -> Floats:
    """Seconds until the first request is served."""
    vocabulary = c.model.embedding_parameters + c.model.head_parameters
    weights = (c.model.parameters - vocabulary) * c.weight_bytes + vocabulary * c.unquantized_bytes
    return _started(c.layout) + _loaded(weights, c.layout, c.gpu) + np.where(c.graphs_gib > 0.0, GRAPH_S, 0.0)


def _started(layout: LayoutColumns) -> Floats:
    return PROCESS_S + RENDEZVOUS_S * np.log2(layout.gpus)


def _loaded(weights: Floats, layout: LayoutColumns, gpu: GpuColumns) -> Floats:
    """Seconds from storage, once for each machine, and from the machine to each card, all at once."""
    split = layout.tp * layout.pp
    per_machine = weights * np.minimum(1.0, layout.node_gpus / split)
    return per_machine / STORAGE_BYTES_S + weights / split / (gpu.pcie_gbs * 1e9)
