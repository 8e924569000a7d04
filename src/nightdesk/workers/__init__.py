"""Programs that may run under a Python of the user's own. A folder of their own, which is all that they can import."""
