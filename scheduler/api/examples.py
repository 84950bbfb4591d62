"""Examples for the API's documentation: the job files that ship with Pythia."""

from __future__ import annotations

from typing import Any

import yaml

from predictor.facts import datasets_dir

_SHOWN = {
    "training": "01-lora-llama-8b.yaml",
    "inference": "04-support-tickets-70b-eu.yaml",
    "custom": "12-count-primes.yaml",
}


def _example(file: str) -> dict[str, Any]:
    text = (datasets_dir() / "demo" / file).read_text(encoding="utf-8")
    return {"summary": text.partition("\n")[0].lstrip("# "), "value": yaml.safe_load(text)}


JOB_SPECS = {kind: _example(file) for kind, file in _SHOWN.items()}
"""As `openapi_examples` wants them."""
