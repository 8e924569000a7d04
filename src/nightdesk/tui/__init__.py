"""The viewer: a Textual program that draws what the engine says and sends what the user asks."""
