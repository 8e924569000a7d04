"""The nouns: frozen structs, units, errors and configuration. Imports nothing else of Nightdesk."""
