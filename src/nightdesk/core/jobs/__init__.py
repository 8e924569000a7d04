"""When a run starts, waits, is tried again and what it is made of: policy as state machines and pure functions."""
