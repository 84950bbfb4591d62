"""What the handlers need of the world, and the dependencies that give it to them."""

from __future__ import annotations
