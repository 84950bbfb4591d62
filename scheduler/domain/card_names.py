"""The catalogue's name of a card as price catalogues call it: `H100NVL`, `A100` with 80 GB, `Tesla V100`.

A name and a memory that no card has together are none of ours: a card taken for another would be a wrong forecast.
"""

from __future__ import annotations

import re
from functools import lru_cache

from predictor.hardware import GpuCatalogue, GpuType

_VENDOR = re.compile(r"^(nvidia|amd|tesla|geforce|quadro|instinct)+")
_NOT_WORDS = re.compile(r"[^a-z0-9]")
_OTHER_NAMES = {"a6000": "rtxa6000", "rtx6000ada": "rtx6000ada", "h100mega": "h100sxm", "rtxpro6000wk": "rtxpro6000"}
"""Names whose card the letters alone do not give: Google's `H100-MEGA` is an H100-SXM with a faster network."""
_BETWEEN_WORDS, _MEMORY = re.compile(r"[^a-z0-9]+"), re.compile(r"\d+gb")
_FORMS = ("sxm", "pcie", "nvl")
_FORM_BY_MEMORY = {"hbm3": "sxm"}
"""Of H100s only the SXM's memory is HBM3, and drivers name it by that alone."""

_NOMINAL_OFF_BY = 0.08
"""Sellers write a card's memory in GB or GiB, with or without what ECC takes: at most this share of the label apart."""


def card_named(name: str, memory_gb: float | None, gpus: GpuCatalogue) -> str | None:
    """A GPU type, or the bare name of several variants, that this name with this memory means; None for no such."""
    known = _known(gpus)
    plain = _NOT_WORDS.sub("", _VENDOR.sub("", _NOT_WORDS.sub("", name.casefold())))
    plain = _OTHER_NAMES.get(plain, plain)
    sized = None if memory_gb is None else known.get(f"{plain}{memory_gb:g}gb")
    found = sized or known.get(plain)
    if found is None:
        return None
    variants = gpus.variants(found)
    fitting = [gpu for gpu in variants if memory_gb is None or _has(gpu, memory_gb)]
    if not fitting:
        return None
    return fitting[0].name if len(fitting) == 1 else found


def card_of_driver(name: str, gpus: GpuCatalogue) -> str | None:
    """The same of a name that says memory and form itself, as drivers and batch systems do: `nvidia_a100-sxm4-80gb`."""
    words = [word for word in _BETWEEN_WORDS.split(name.casefold()) if word]
    memory_gb = next((float(word[:-2]) for word in words if _MEMORY.fullmatch(word)), None)
    forms = [form for word in words for form in _FORMS if word.startswith(form)]
    rest = [word for word in words if not (_MEMORY.fullmatch(word) or word.startswith((*_FORMS, *_FORM_BY_MEMORY)))]
    found = card_named(name, None, gpus) or card_named("".join(rest), memory_gb, gpus)
    if not forms and (stated := [form for kind, form in _FORM_BY_MEMORY.items() if kind in words]):
        forms = stated
    if found is None or not forms:
        return found
    fitting = [gpu.name for gpu in gpus.variants(found) if forms[0] in gpu.name.casefold()]
    return fitting[0] if len(fitting) == 1 else found


def _has(gpu: GpuType, memory_gb: float) -> bool:
    return abs(gpu.memory_gb_nominal - memory_gb) <= _NOMINAL_OFF_BY * gpu.memory_gb_nominal


@lru_cache(maxsize=4)
def _known(gpus: GpuCatalogue) -> dict[str, str]:
    """Plain spelling to name, bare names included: `h100sxm`, `h100`, `a10080gb`."""
    names: dict[str, str] = {}
    for gpu in (one for one in gpus if one.slice_of is None):
        parts = gpu.name.split("-")
        for many in range(1, len(parts) + 1):
            name = "-".join(parts[:many])
            names[_NOT_WORDS.sub("", name.casefold())] = name
    return names
