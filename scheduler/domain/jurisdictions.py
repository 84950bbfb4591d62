"""Where a machine stands and where a company sits, as law sees it."""

from __future__ import annotations

from collections.abc import Sequence

EU = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
"""Members of the European Union by ISO 3166-1 alpha-2 code (27, since 2020-02-01)."""

EEA = EU | {"IS", "LI", "NO"}
"""The European Economic Area: the Union with Iceland, Liechtenstein and Norway."""

GROUPS: dict[str, frozenset[str]] = {"EU": EU, "EEA": EEA}


def satisfies(country: str | None, wanted: Sequence[str], stated: str | None = None) -> bool | None:
    """Whether a country is among the wanted codes and groups; None where that cannot be known.

    `stated` is a group that a source names without the country (`EU` is also in the `EEA`, not the reverse).
    What is unknown never satisfies a constraint: callers treat None as a refusal with its own reason.
    """
    if not wanted:
        return True
    asked = {word.upper() for word in wanted}
    if country:
        code = country.upper()
        return any(code == word or code in GROUPS.get(word, ()) for word in asked)
    if stated is None or stated.upper() not in GROUPS:
        return None
    if asked & {"EU", "EEA"}:
        inside = stated.upper() in asked or (stated.upper() == "EU" and "EEA" in asked)
        return True if inside else None
    return None
