"""Ways to run an attempt, behind one small protocol."""
