"""Habits of training and serving software that decide memory; an unknown engine gets those of the most common one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from predictor.workload import Software

UNLIMITED = 1e12
"""Tokens or sequences where an engine sets no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """What software keeps per trained parameter when it trains 16-bit weights with FP32 precision."""

    weight_bytes: float
    gradient_bytes: float
    master_bytes: float
    megatron: bool = False
    """Vocabulary-parallel loss, fused kernels, gradients in one FP32 buffer that lives through the step."""
    sequence_parallel: bool = False
    """Norms and residuals are split over the tensor-parallel ranks too, where nobody says otherwise."""
    fused_kernels: bool = False
    autocast: bool = False
    """Parameters are FP32 and cast as they are used."""
    fused_step: bool = False
    """One kernel updates a parameter in place, without temporaries (Apex, Transformer Engine, DeepSpeed)."""
    whole_gradients: bool = False
    """While gradients accumulate, sharded data parallelism does not reduce them: every rank holds all (no_sync)."""


_AUTOCAST = Trainer(weight_bytes=4, gradient_bytes=4, master_bytes=0, autocast=True, whole_gradients=True)
"""FP32 parameters, cast as they are used (torch.amp)."""

_MEGATRON_RECIPES = Trainer(
    weight_bytes=2,
    gradient_bytes=4,
    master_bytes=4,
    megatron=True,
    sequence_parallel=True,
    fused_step=True,
    fused_kernels=True,
)
"""NeMo's recipes turn sequence parallelism on wherever tensors are split; Megatron-LM leaves it off."""

_TRAINERS = {
    "transformers": _AUTOCAST,
    "fsdp": Trainer(weight_bytes=4, gradient_bytes=4, master_bytes=0, fused_kernels=True),
    "composer": Trainer(weight_bytes=4, gradient_bytes=4, master_bytes=0, fused_kernels=True),
    "torchtitan": Trainer(weight_bytes=4, gradient_bytes=4, master_bytes=0, fused_kernels=True),
    # ZeRO, arXiv:1910.02054, section 3.1: 2 + 2 + 12 bytes
    "deepspeed": Trainer(weight_bytes=2, gradient_bytes=2, master_bytes=4, fused_step=True),
    "internlm": Trainer(weight_bytes=2, gradient_bytes=2, master_bytes=4, fused_step=True, fused_kernels=True),
    # Megatron Core, distributed optimizer guide: 18 bytes, 6 + 12/d when sharded
    "megatron-bridge": _MEGATRON_RECIPES,
    "megatron": Trainer(
        weight_bytes=2, gradient_bytes=4, master_bytes=4, megatron=True, fused_step=True, fused_kernels=True
    ),
    "nemo": _MEGATRON_RECIPES,
}


@lru_cache(maxsize=256)
def find_trainer(engine: str) -> Trainer:
    """The habits of a trainer, matched by prefix (`megatron-bridge` is `megatron`)."""
    return next((habits for prefix, habits in _TRAINERS.items() if engine.startswith(prefix)), _AUTOCAST)


@lru_cache(maxsize=256)
def is_known_trainer(engine: str) -> bool:
    """False where `find_trainer` falls back to the habits of Transformers."""
    return engine.startswith(tuple(_TRAINERS))


def fuses_blocks(kernels: str) -> bool:
    """True where the kernels a run names fuse norms, rotary embedding and activation functions."""
    return any(kernel in kernels.lower() for kernel in ("foak", "liger", "unsloth", "fused"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingEngine:
    """How an engine batches, and what it keeps beside weights and cache."""

    paged: bool
    """The KV cache is in pages and sequences come and go; otherwise one contiguous batch at a time."""
    page_tokens: float = 1
    max_running: float = UNLIMITED
    """Sequences in flight per replica by default."""
    prefill_chunk: float = UNLIMITED
    """Most tokens of one forward pass; UNLIMITED where all prompts of a batch are run at once."""
    graphs_gib: float = 0.0
    """CUDA graphs per GPU."""
    keeps_prompt_logits: bool = False


_VLLM = ServingEngine(paged=True, page_tokens=16, max_running=256, prefill_chunk=8192, graphs_gib=0.5)

_ENGINES = {
    # defaults of the engines' own argument tables: max_num_seqs, max_num_batched_tokens; max_running_requests,
    # chunked_prefill_size; max_batch_size, max_num_tokens, tokens_per_block; n_batch
    "vllm": _VLLM,
    "sglang": ServingEngine(paged=True, page_tokens=1, max_running=1024, prefill_chunk=8192, graphs_gib=0.8),
    "tensorrt-llm": ServingEngine(paged=True, page_tokens=32, max_running=2048, prefill_chunk=8192),
    "deepspeed-mii": ServingEngine(paged=True, page_tokens=64, max_running=512, prefill_chunk=2048, graphs_gib=0.3),
    "llama.cpp": ServingEngine(paged=False, prefill_chunk=512),
    "transformers": ServingEngine(paged=False),
}

_OLD_TRANSFORMERS = ServingEngine(paged=False, keeps_prompt_logits=True)
_OLD_TENSORRT_LLM = ServingEngine(paged=False)
"""Before 0.11 an engine was built for its largest batch, and ran all of its prompts in one pass."""


@lru_cache(maxsize=1024)
def find_serving_engine(engine: str, software: Software) -> ServingEngine:
    """The habits of a serving engine, matched by prefix; Transformers changed its own in 4.45 (September 2024)."""
    if engine.startswith(("transformers", "huggingface")):
        return _OLD_TRANSFORMERS if _is_before_last_logits(software.version) else _ENGINES["transformers"]
    if engine.startswith("tensorrt-llm") and _is_before(software.version, (0, 11)):
        return _OLD_TENSORRT_LLM
    return next((habits for prefix, habits in _ENGINES.items() if engine.startswith(prefix)), _VLLM)


@lru_cache(maxsize=256)
def is_known_engine(engine: str) -> bool:
    """False where `find_serving_engine` falls back to the habits of vLLM."""
    return engine.startswith(("huggingface", *_ENGINES))


def _is_before(version: str, bound: tuple[int, int]) -> bool:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < bound


def _is_before_last_logits(version: str) -> bool:
    """True where the version text dates the run before `generate` asked for the last position's logits only."""
    known = {"transformers": (4, 45), "torch": (2, 4)}
    for name, bound in known.items():
        found = re.search(rf"\b(?:py)?{name}\s*[=v]*\s*(\d+)\.(\d+)", version, re.IGNORECASE)
        if found:
            return (int(found[1]), int(found[2])) < bound
    return False
