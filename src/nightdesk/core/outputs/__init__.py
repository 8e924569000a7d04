"""What an output must be, and whether it is: rules, JSON Schema, prose, code, likeness, and their results over time."""
