"""Typed client of the engine's API over its Unix socket, and the code that starts an engine."""
