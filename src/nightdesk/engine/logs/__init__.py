"""Follows log files and reads windows of them."""
