"""Use cases, one a file: predict first, lock late, send last."""
