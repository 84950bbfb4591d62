"""Submit, list, read and cancel jobs."""

from __future__ import annotations
