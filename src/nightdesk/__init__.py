"""Nightdesk: the night desk for local AI.

Layers, from the bottom: model (nouns), core (sans-io logic), client (typed API client), engine and tui and export
(input and output), cli (commands). docs/architecture.md draws them.
"""

__version__ = "0.1.0"
