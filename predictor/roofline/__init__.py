"""Time by arithmetic: compute, bandwidth, communication and overhead."""
