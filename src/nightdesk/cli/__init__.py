"""The command line: one file per group of verbs; heavy imports stay inside the functions."""
