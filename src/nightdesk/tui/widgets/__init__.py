"""Widgets that know nothing of the desk: grid, chart, bars."""
