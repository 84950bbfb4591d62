"""The HTTP edge: handlers that translate and nothing more."""
