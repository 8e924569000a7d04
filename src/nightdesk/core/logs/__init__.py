"""Bytes of logs as lines; what lines say: time, level, progress, errors."""
