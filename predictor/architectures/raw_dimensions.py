"""Read numbers out of a mapping that a person or a file wrote, refusing what no model can have."""

from __future__ import annotations

import math
from collections.abc import Mapping

from predictor.errors import InvalidWorkload

MAX_PARAMETERS = 10**14
_ABSURD = 1e30

_LIMITS = {
    "num_parameters": MAX_PARAMETERS,
    "num_active_parameters": MAX_PARAMETERS,
    "extra_params": MAX_PARAMETERS,
    "attention_params_per_layer": MAX_PARAMETERS,
    "linear_layer_params": MAX_PARAMETERS,
    "num_hidden_layers": 10_000,
    "hidden_size": 10**6,
    "intermediate_size": 10**7,
    "moe_intermediate_size": 10**7,
    "shared_expert_intermediate_size": 10**7,
    "vocab_size": 10**8,
    "max_position_embeddings": 10**10,
    "position_embedding_rows": 10**8,
    "sliding_window": 10**10,
}
_USUAL_LIMIT = 10**6

_MAY_BE_ZERO = frozenset(
    {
        "attention_layers",
        "first_k_dense_layers",
        "full_attention_layers",
        "intermediate_size",
        "kv_elements_per_token_per_layer",
        "global_kv_elements_per_token_per_layer",
        "linear_attention_layers",
        "linear_layer_params",
        "moe_intermediate_size",
        "mtp_layers",
        "num_dense_mlp_layers",
        "num_experts",
        "num_experts_per_tok",
        "num_moe_layers",
        "num_shared_experts",
        "position_embedding_rows",
        "shared_expert_intermediate_size",
        "qk_rope_head_dim",
        "vocab_size",
    }
)
_MAY_BE_NEGATIVE = frozenset({"extra_params"})  # an embedding narrower than the model (OPT-350M)
_ZERO_MEANS_NONE = frozenset({"kv_lora_rank", "q_lora_rank", "sliding_window"})


class Assumptions(list[str]):
    """Defaults taken, in words."""

    def take(self, name: str, value: int, why: str) -> int:
        self.append(f"{name}: {value} ({why})")
        return value

    def take_flag(self, name: str, value: bool, why: str) -> bool:
        self.append(f"{name}: {str(value).lower()} ({why})")
        return value


class RawDimensions:
    """Named numbers as somebody gave them; absent and null are the same."""

    def __init__(self, values: Mapping[str, object], source: str) -> None:
        self._values = values
        self.source = source

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    @property
    def has_all_widths(self) -> bool:
        """Whether the count follows from what was given, so that a stated count can contradict it."""
        mlp = "intermediate_size" in self or "moe_intermediate_size" in self
        return mlp and "hidden_size" in self and "num_hidden_layers" in self

    def optional(self, name: str) -> int | None:
        """A whole number in the limits of its kind, or None where nothing was given."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, list | tuple) and value:
            return self._mean_over_layers(name, value)
        number = self._number(name, value)
        if number == 0 and name in _ZERO_MEANS_NONE:
            return None
        limit = _LIMITS.get(name, _USUAL_LIMIT)
        least = -limit if name in _MAY_BE_NEGATIVE else 0 if name in _MAY_BE_ZERO else 1
        if not least <= number <= limit:
            raise self.refuse(f"{name} is {number}, must be between {least} and {limit}")
        return number

    def flag(self, name: str) -> bool | None:
        value = self._values.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.refuse(f"{name} is {value!r:.40}, must be true or false")

    def text(self, name: str, default: str) -> str:
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value or len(value) > 200:
            raise self.refuse(f"{name} is {value!r:.40}, must be a short text")
        return value

    def refuse(self, why: str) -> InvalidWorkload:
        """The error for these numbers: ``raise known.refuse("…")``."""
        return InvalidWorkload(f"{self.source}: {why}")

    def _number(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(f"{name} is {value!r:.40}, must be a number")
        if not -_ABSURD < value < _ABSURD:  # false for NaN too
            raise self.refuse(
                f"{name} is {value:.3g}, must be a finite number"
                if isinstance(value, float)
                else f"{name} has more digits than any size"
            )
        if value != int(value):
            raise self.refuse(f"{name} is {value}, must be a whole number")
        return int(value)

    def _mean_over_layers(self, name: str, values: list[object] | tuple[object, ...]) -> int:
        """Some configs list a width per layer; the mean, rounded up, keeps the totals."""
        numbers = [self._number(name, value) for value in values]
        mean = math.ceil(sum(numbers) / len(numbers))
        if min(numbers) < 0 or not 1 <= mean <= _LIMITS.get(name, _USUAL_LIMIT):
            raise self.refuse(f"{name} lists a size no layer can have")
        return mean
