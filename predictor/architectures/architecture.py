"""A model as the predictor reads it: its dimensions, its parameters and what had to be assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from predictor.architectures.dimensions import Dimensions
from predictor.architectures.hf_config import translate, unread
from predictor.architectures.infer_dimensions import infer_dimensions
from predictor.architectures.raw_dimensions import RawDimensions
from predictor.errors import InvalidWorkload


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture(Dimensions):
    """One model, every number filled; ``assumptions`` names each that the source did not say."""

    id: str
    family: str
    num_parameters: int
    num_active_parameters: int
    """Parameters one token passes through: without idle experts and without ``extra_params``."""
    native_weight_precision: str
    assumptions: tuple[str, ...] = ()
    """Such as ``num_key_value_heads: 8 (as num_attention_heads)``."""
    source: str


_NAMED_UNREAD = 3  # enough to notice a slip
_DIMENSIONS = tuple(field.name for field in fields(Dimensions))


def parse_architecture(raw: Mapping[str, object], *, source: str) -> Architecture:
    """Read an architecture or a Hugging Face ``config.json``; infer what is missing, refuse what cannot be.

    ``num_parameters`` alone is enough, and so are ``hidden_size`` and ``num_hidden_layers`` without it.
    """
    known = RawDimensions(translate(raw), source)
    dimensions, assumptions = infer_dimensions(known)
    for name in unread(raw)[:_NAMED_UNREAD]:
        assumptions.append(f"{name[:40]}: ignored (no field of an architecture)")
    counted = dimensions.counted_parameters
    stated = known.optional("num_parameters")
    if stated is None:
        assumptions.append(f"num_parameters: {counted} (counted from the dimensions)")
    total = counted if stated is None else stated
    active = known.optional("num_active_parameters")
    if active is None:
        active = max(1, total - dimensions.inactive_params - max(0, dimensions.extra_params))
        if dimensions.inactive_params:
            assumptions.append(f"num_active_parameters: {active} (without idle experts)")
    if active > total:
        raise InvalidWorkload(f"{source}: num_active_parameters is {active}, above num_parameters {total}")
    return Architecture(
        **{name: getattr(dimensions, name) for name in _DIMENSIONS},
        id=known.text("id", "inline"),
        family=known.text("family", "unknown"),
        num_parameters=total,
        num_active_parameters=active,
        native_weight_precision=known.text("native_weight_precision", "bf16"),
        assumptions=tuple(assumptions),
        source=source,
    )
