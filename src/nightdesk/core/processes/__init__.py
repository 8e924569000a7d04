"""Whose a process is, trees, filters, and what was done to them in words."""
