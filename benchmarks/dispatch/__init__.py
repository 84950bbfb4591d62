"""A whole installation as processes that can be killed: what `make chaos` and `make bench-dispatch` run on."""
