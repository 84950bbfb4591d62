"""How files of a job are written: s3:// URLs, and patterns for several."""

from __future__ import annotations

GLOB = frozenset("*?[")
"""Characters that make a pattern of a path."""


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URL."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
