"""Turn result files that anyone can download into observations: one module per format, one way to read them all."""
