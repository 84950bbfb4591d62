"""What telemetry adds to the arithmetic: trees on the log of measured over arithmetic, and how far to trust them."""
