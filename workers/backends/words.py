"""Put what a server says on one line, as part of a sentence of ours."""

from __future__ import annotations


def line(said: object, longest: int = 400) -> str:
    """Its words without line breaks, and not too many; of an error that has none its name."""
    words = " ".join(str(said).split()) or type(said).__name__
    return words if len(words) <= longest else f"{words[: longest - 1]}…"
