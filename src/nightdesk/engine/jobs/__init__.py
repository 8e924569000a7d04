"""Keepers, runs and the supervisor that obeys core.jobs.life."""
