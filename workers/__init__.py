"""Run it, watch it, learn from it: Celery tasks, execution backends, sweeps and retraining."""
