"""Kinds of custom jobs that a bundle knows from its training data.

The time of a kind is a power law of its features and of the card (a linear regression of logarithms, which
carries on to sizes and cards not seen) times what boosted trees found in the remainder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.custom.encoding import Encoding
from predictor.errors import InvalidBundle
from predictor.forecast import Question
from predictor.gather import Floats
from predictor.learned.trees import Trees


@dataclass(frozen=True, slots=True, kw_only=True)
class KindModel:
    """The runtime of one kind of custom job."""

    kind: str
    encoding: Encoding
    coefficients: Floats
    """Of an intercept and the encoded columns."""
    trees: Trees
    text: str
    """The trees as LightGBM writes them."""
    deviation: float
    """Standard deviation of log(measured / forecast) on held-out configurations; a robust estimate."""
    rows: int

    def log_runtime(self, questions: Sequence[Question]) -> Floats:
        """Logarithm of the seconds expected."""
        return self.log_runtime_of(with_intercept(self.encoding.encode(questions)))

    def log_runtime_of(self, rows: Floats) -> Floats:
        """The same of jobs that are encoded already, with an intercept."""
        level: Floats = np.einsum("ij,j->i", rows, self.coefficients)
        return level + self.trees.predict(rows)

    def to_json(self) -> dict[str, object]:
        """All but the trees, which are a file of their own."""
        return {
            "kind": self.kind,
            "encoding": self.encoding.to_json(),
            "coefficients": self.coefficients.round(9).tolist(),
            "deviation": self.deviation,
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], text: str) -> KindModel:
        try:
            model = cls(
                kind=str(raw["kind"]),
                encoding=Encoding.from_json(raw["encoding"]),
                coefficients=np.asarray(raw["coefficients"], dtype=np.float64),
                trees=Trees(text),
                text=text,
                deviation=float(raw["deviation"]),
                rows=int(raw["rows"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBundle(f"a kind of custom job is unreadable ({error})") from None
        width = 1 + len(model.encoding.columns)
        if model.coefficients.shape != (width,) or model.trees.features != width or not model.deviation > 0:
            raise InvalidBundle(f"the kind {model.kind!r} of custom jobs does not fit its own columns")
        return model


def with_intercept(rows: Floats) -> Floats:
    """A column of ones before the others."""
    return np.column_stack([np.ones(len(rows)), rows])
