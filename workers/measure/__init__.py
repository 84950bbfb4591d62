"""Measure memory and time of real training and generation on the GPU that is here, as observations to learn from."""
