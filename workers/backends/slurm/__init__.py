"""An existing Slurm cluster as a backend: a machine and the attempt on it are one job of the cluster."""
