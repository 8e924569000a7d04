"""Samples the process table and signals exactly one tree."""
