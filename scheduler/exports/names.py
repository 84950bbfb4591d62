"""What dstack and SkyPilot call providers and cards: `datasets/engine_providers.csv` and `engine_cards.csv`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from predictor.facts import datasets_dir, read_facts
from scheduler.domain.errors import NothingToExport

_ANY = "*"


class Engine(StrEnum):
    """What can be told to rent a machine and run a command on it."""

    DSTACK = "dstack"
    SKYPILOT = "skypilot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """A provider as an engine knows it."""

    name: str
    names_instances: bool
    """Whether its price lists and the engine's call a machine the same."""


def sellers(engine: Engine) -> dict[str, Seller]:
    """The providers that an engine can rent from, by our names."""
    return dict(_sellers()[engine])


def seller(engine: Engine, provider: str) -> Seller:
    """A provider as an engine knows it."""
    known = _sellers()[engine]
    if provider not in known:
        raise NothingToExport(f"{engine} rents nothing from {provider}; it knows {', '.join(sorted(known))}")
    return known[provider]


def card(engine: Engine, provider: str, gpu_type: str) -> str:
    """A card as an engine calls it at a provider."""
    known = _cards()
    name = known.get((engine, provider, gpu_type)) or known.get((engine, _ANY, gpu_type))
    if name is None:
        raise NothingToExport(f"what {engine} calls {gpu_type} is not known; leave it out with exclude_gpu_types")
    return name


def nameable(engine: Engine) -> frozenset[str]:
    """The GPU types that an engine has a name for, at any provider or at some."""
    return frozenset(gpu_type for known, _, gpu_type in _cards() if known == engine)


@cache
def _sellers() -> dict[Engine, dict[str, Seller]]:
    found: dict[Engine, dict[str, Seller]] = {engine: {} for engine in Engine}
    columns = ("provider", *Engine, "names_instances")
    for row in read_facts(datasets_dir() / "engine_providers.csv", columns, key=("provider",)):
        for engine in Engine:
            name = row.optional_text(engine)
            if name is not None:
                found[engine][row.text("provider")] = Seller(name=name, names_instances=row.flag("names_instances"))
    return found


@cache
def _cards() -> dict[tuple[str, str, str], str]:
    columns = ("engine", "provider", "gpu_type", "name")
    rows = read_facts(datasets_dir() / "engine_cards.csv", columns, key=("engine", "provider", "gpu_type"))
    return {(row.text("engine"), row.text("provider"), row.text("gpu_type")): row.text("name") for row in rows}
