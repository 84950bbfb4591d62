"""Models by id: the architectures that can be named instead of described.

A file is read once and a row is parsed when it is asked for, so that the command line answers at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from predictor.architectures.architecture import Architecture, parse_architecture
from predictor.errors import InvalidWorkload, UnknownModel
from predictor.facts import FactRow, datasets_dir, read_facts

_TEXTS = ("id", "family", "native_weight_precision")
_FLAGS = (
    "tie_word_embeddings",
    "gated_mlp",
    "attention_k_eq_v",
    "attention_output_gate",
    "single_mixer_layers",
    "is_encoder_decoder",
)
_NUMBERS = (
    "num_parameters",
    "num_active_parameters",
    "num_hidden_layers",
    "hidden_size",
    "vocab_size",
    "intermediate_size",
    "num_dense_mlp_layers",
    "num_moe_layers",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "moe_latent_size",
    "num_shared_experts",
    "shared_expert_intermediate_size",
    "first_k_dense_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "v_head_dim",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "q_lora_rank",
    "kv_lora_rank",
    "global_head_dim",
    "global_num_key_value_heads",
    "attention_params_per_layer",
    "global_kv_elements_per_token_per_layer",
    "attention_layers",
    "full_attention_layers",
    "sliding_window",
    "linear_attention_layers",
    "linear_layer_params",
    "max_position_embeddings",
    "position_embedding_rows",
    "mtp_layers",
    "extra_params",
)
_PROVENANCE = ("parameters_basis", "confidence", "source", "note")
COLUMNS = (*_TEXTS, *_FLAGS, *_NUMBERS, *_PROVENANCE)

_VARIANT_WORDS = frozenset(
    {"instruct", "chat", "it", "thinking", "base", "hf", "meta", "fp8", "nvfp4", "bf16", "awq", "gptq", "int4", "int8"}
)
"""Parts of a name that change the training or the number format of a model, not its shape."""


class ModelCatalogue:
    """Architectures by id, case aside; a variant of a known model has its shape, said as an assumption."""

    def __init__(self, rows: Iterator[FactRow]) -> None:
        self._rows = {row.text("id").casefold(): row for row in rows}
        self._by_stem = {_stem(model_id): model_id for model_id in self._rows}
        self._parsed: dict[str, Architecture] = {}

    def get(self, model_id: str) -> Architecture:
        """The architecture of a model, or :class:`UnknownModel` naming the nearest ids."""
        folded = model_id.casefold()
        if folded in self._rows:
            return self._architecture(folded)
        sibling = self._by_stem.get(_stem(folded))
        if sibling is None:
            raise self._unknown(model_id)
        known = self._architecture(sibling)
        assumption = f"architecture: {known.id} (the model {model_id} is named after)"
        return replace(known, id=model_id, assumptions=(*known.assumptions, assumption))

    def ids(self) -> tuple[str, ...]:
        return tuple(row.values["id"] for row in self._rows.values())

    def __contains__(self, model_id: object) -> bool:
        return isinstance(model_id, str) and model_id.casefold() in self._rows

    def __iter__(self) -> Iterator[Architecture]:
        return (self._architecture(folded) for folded in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def _architecture(self, folded: str) -> Architecture:
        if folded not in self._parsed:
            self._parsed[folded] = _architecture(self._rows[folded])
        return self._parsed[folded]

    def _unknown(self, model_id: str) -> UnknownModel:
        near = difflib.get_close_matches(model_id.casefold(), self._rows, n=3, cutoff=0.6)
        hint = f"; near it: {', '.join(self._rows[folded].values['id'] for folded in near)}" if near else ""
        return UnknownModel(
            f"model {model_id!r:.120} is not in the catalogue{hint}; give its dimensions or its config.json"
        )


def load_models(path: Path | None = None) -> ModelCatalogue:
    """The catalogue of a file, by default ``datasets/model_architectures.csv``; a file is read once."""
    return _load(path or datasets_dir() / "model_architectures.csv")


@cache
def _load(path: Path) -> ModelCatalogue:
    return ModelCatalogue(read_facts(path, COLUMNS, key=("id",)))


def _stem(model_id: str) -> str:
    """``meta-llama/Llama-3.1-8B-Instruct`` and ``meta-llama/Meta-Llama-3.1-8B`` share one."""
    owner, _, name = model_id.casefold().rpartition("/")
    return f"{owner}/{'-'.join(part for part in name.split('-') if part not in _VARIANT_WORDS)}"


def _architecture(row: FactRow) -> Architecture:
    raw: dict[str, object] = {name: row.text(name) for name in _TEXTS}
    raw |= {name: row.flag(name) for name in _FLAGS}
    raw |= {name: row.optional_integer(name, minimum=-(10**15)) for name in _NUMBERS}
    try:
        return parse_architecture(raw, source=row.text("source"))
    except InvalidWorkload as error:
        raise row.refuse(str(error)) from None
