"""What an optimizer keeps per trained parameter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """Tensors of the parameters' shape that live between steps."""

    states: int
    """Whole tensors: AdamW keeps two moments (Loshchilov and Hutter, arXiv:1711.05101)."""
    state_bytes: float | None = None
    """Bytes of one state element; None: FP32 beside FP32 weights or masters, else the type of the weights."""
    step_copies: int = 0
    """Whole temporaries of the type of the states while it steps."""
    matrix_states: int | None = None
    """States of a matrix inside a layer, where embeddings and vectors keep other ones (Muon); None: the same."""


_8BIT = 1.0 + 4.0 / 256.0
"""One byte and an FP32 scale per block of 256 (Dettmers et al., arXiv:2110.02861; block size of bitsandbytes 0.44)."""

_FACTORED = 0.01
"""Rows plus columns of a matrix instead of the matrix (Adafactor, arXiv:1804.04235 section 3): near nothing."""

ADAMW = Optimizer(states=2, step_copies=1)
"""PyTorch's multi-tensor step holds the square roots of all second moments at once."""

_KNOWN = {
    "adamw": ADAMW,
    "adam": ADAMW,
    "lamb": ADAMW,
    "adagrad": Optimizer(states=1),
    "rmsprop": Optimizer(states=1),
    "lion": Optimizer(states=1),
    "sgd": Optimizer(states=0),
    "sgd_momentum": Optimizer(states=1),
    "adafactor": Optimizer(states=1, state_bytes=_FACTORED),
    "adamw_8bit": Optimizer(states=2, state_bytes=_8BIT),
    "lion_8bit": Optimizer(states=1, state_bytes=_8BIT),
    "muon": Optimizer(states=2, step_copies=1, matrix_states=1),
}

_ALIASES = {
    "adamw_bnb_8bit": "adamw_8bit",
    "adam_8bit": "adamw_8bit",
    "adamw8bit": "adamw_8bit",
    "lion8bit": "lion_8bit",
}

_ADAMW_SPELLINGS = ("adamw_", "adam_", "fusedadam", "distributed_adam", "mcore_adam")
"""Implementations of the same arithmetic: adamw_torch, adamw_torch_fused, adamw_hf, adam_torch …"""


@lru_cache(maxsize=256)
def find_optimizer(name: str) -> Optimizer | None:
    """The optimizer of this name, spellings of trainers included; None where it is not known."""
    plain = name.lower().replace("-", "_").removeprefix("paged_")
    plain = _ALIASES.get(plain, plain)
    if plain in _KNOWN:
        return _KNOWN[plain]
    return ADAMW if plain.startswith(_ADAMW_SPELLINGS) else None


@lru_cache(maxsize=256)
def optimizer_assumption(name: str) -> str | None:
    """What to say when the memory of an optimizer had to be assumed."""
    return None if find_optimizer(name) else f"optimizer: {name} is not known, counted as adamw"
