"""Translate a Hugging Face ``config.json`` into the names and habits Pythia counts with."""

from __future__ import annotations

from collections.abc import Mapping


def translate(raw: Mapping[str, object]) -> Mapping[str, object]:
    """The same mapping, when it already speaks our names."""
    return raw
