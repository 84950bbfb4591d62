"""Which runs to measure: a grid of shapes, methods, precisions, lengths and batches, in an order worth stopping at.

A ladder is one configuration with growing batch; it is climbed until the card runs out of
memory, so each ladder ends with one out-of-memory observation and the last batch that fitted.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder as Hugging Face configures it; the weights are random, so nothing is downloaded."""

    family: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool

    def to_json(self) -> dict[str, object]:
        """The architecture in the words of a workload."""
        return {
            "num_hidden_layers": self.num_hidden_layers,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.hidden_size // self.num_attention_heads,
            "vocab_size": self.vocab_size,
            "tie_word_embeddings": self.tie_word_embeddings,
            "num_parameters": self.num_parameters,
        }

    @property
    def num_parameters(self) -> int:
        """Weights of a gated decoder: embeddings, grouped-query attention, three MLP matrices, two norms a layer."""
        head_dim = self.hidden_size // self.num_attention_heads
        attention = self.hidden_size * head_dim * 2 * (self.num_attention_heads + self.num_key_value_heads)
        biases = head_dim * (self.num_attention_heads + 2 * self.num_key_value_heads) if self.family == "qwen2" else 0
        layer = attention + biases + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + self.hidden_size


GPU_SHAPES = (
    Shape("llama", 768, 2048, 12, 12, 12, 32_000, True),
    Shape("qwen2", 896, 4864, 24, 14, 2, 151_936, True),
    Shape("llama", 2048, 8192, 16, 32, 8, 128_256, True),
    Shape("qwen2", 1536, 8960, 28, 12, 2, 151_936, True),
    Shape("llama", 3072, 8192, 28, 24, 8, 128_256, True),
    Shape("llama", 4096, 11_008, 32, 32, 32, 32_000, False),
    Shape("llama", 4096, 14_336, 32, 32, 8, 128_256, False),
    Shape("qwen2", 5120, 13_824, 48, 40, 8, 152_064, False),
)
"""From 0.1B to 14B parameters: multi-head and grouped-query attention, small and large vocabularies, tied and not."""

CPU_SHAPES = (
    Shape("llama", 64, 176, 2, 4, 4, 512, True),
    Shape("qwen2", 96, 256, 3, 6, 2, 1024, True),
)
"""Small enough that a smoke run takes seconds; its rows never teach a GPU model."""

SECONDS_OF_A_CASE = 90
"""A single case that takes longer is stopped: one row is not worth more of a rented hour."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run to measure."""

    shape: Shape
    workload: Mapping[str, object]
    """In the words of a job spec, its model included."""

    @property
    def key(self) -> str:
        """A name for the case that is the same in every run, so that a stopped grid can be taken up again."""
        text = json.dumps([self.shape.family, dict(self.workload)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Cases that differ in batch alone, in growing order."""

    cases: tuple[Case, ...]


def ladders(*, cpu: bool, seed: int) -> list[Ladder]:
    """Every ladder, shuffled with the seed: whatever the time allows is a fair sample of the grid."""
    found = list(_smoke() if cpu else _training_ladders())
    if not cpu:
        found += _generation_ladders()
    random.Random(seed).shuffle(found)  # noqa: S311 - an order, not a secret
    return found


def _training(shape: Shape, batch: int, **fields: object) -> Case:
    return Case(
        shape,
        {
            "type": "training",
            "model": shape.to_json(),
            "micro_batch_size": batch,
            "global_batch_size": batch,
            "num_steps": 1,
            "fused_loss": False,
        }
        | fields,
    )


def _generation(shape: Shape, batch: int, **fields: object) -> Case:
    return Case(
        shape,
        {
            "type": "inference",
            "model": shape.to_json(),
            "num_requests": batch,
            "max_batch_size": batch,
            "engine": "transformers",
        }
        | fields,
    )


def _training_ladders() -> Iterator[Ladder]:
    methods: tuple[Mapping[str, object], ...] = (
        {"method": "full", "optimizer": "adamw", "precision": "bf16", "pure_low_precision": True},
        {"method": "full", "optimizer": "adamw", "precision": "bf16", "pure_low_precision": False},
        {"method": "full", "optimizer": "adamw", "precision": "fp32", "pure_low_precision": False},
        {"method": "full", "optimizer": "sgd", "precision": "bf16", "pure_low_precision": True},
        {"method": "full", "optimizer": "adafactor", "precision": "bf16", "pure_low_precision": True},
        {"method": "lora", "optimizer": "adamw", "precision": "bf16", "lora_rank": 8},
        {"method": "lora", "optimizer": "adamw", "precision": "bf16", "lora_rank": 64},
    )
    for shape, method, sequence, checkpointing, attention in product(
        GPU_SHAPES, methods, (512, 2048, 8192), ("none", "full"), ("sdpa", "eager")
    ):
        if attention == "eager" and (sequence > 2048 or checkpointing == "full"):
            continue  # the score matrices of long sequences fit nowhere; one column of the grid shows the effect
        yield Ladder(
            tuple(
                _training(
                    shape,
                    batch,
                    sequence_length=sequence,
                    gradient_checkpointing=checkpointing,
                    attention=attention,
                    **method,
                )
                for batch in (1, 2, 4, 8, 16, 32, 64)
            )
        )


def _generation_ladders() -> Iterator[Ladder]:
    for shape, precision, (prompt, output) in product(
        GPU_SHAPES, ("bf16", "fp16", "fp32"), ((128, 128), (1024, 64), (4096, 64), (16_384, 32))
    ):
        yield Ladder(
            tuple(
                _generation(shape, batch, precision=precision, input_length=prompt, output_length=output)
                for batch in (1, 4, 16, 64, 256)
            )
        )


def _smoke() -> Iterator[Ladder]:
    """A little of everything that the GPU grid does, at toy size."""
    for shape in CPU_SHAPES:
        for method in (
            {"method": "full", "optimizer": "adamw", "precision": "fp32", "pure_low_precision": False},
            {"method": "full", "optimizer": "sgd", "precision": "bf16", "pure_low_precision": True},
            {"method": "full", "optimizer": "adafactor", "precision": "bf16", "pure_low_precision": True},
            {"method": "full", "optimizer": "adamw", "precision": "bf16", "pure_low_precision": False},
            {"method": "lora", "optimizer": "adamw", "precision": "bf16", "lora_rank": 4},
        ):
            for checkpointing in ("none", "full"):
                yield Ladder(
                    tuple(
                        _training(
                            shape,
                            batch,
                            sequence_length=64,
                            gradient_checkpointing=checkpointing,
                            attention="sdpa",
                            **method,
                        )
                        for batch in (1, 2)
                    )
                )
        yield Ladder(
            tuple(_generation(shape, batch, precision="fp32", input_length=32, output_length=8) for batch in (1, 2))
        )
