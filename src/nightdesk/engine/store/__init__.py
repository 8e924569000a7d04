"""The desk's history in SQLite: one writer thread, migrations by version."""
