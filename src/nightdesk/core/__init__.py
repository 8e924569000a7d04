"""Sans-io logic: bytes or values and a time in, events or commands out. No file, socket, clock or thread."""
