"""What a person wrote, read into a workload, and the numbers that follow from it alone."""
