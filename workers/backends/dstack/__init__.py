"""Run attempts in clouds through a dstack server."""
