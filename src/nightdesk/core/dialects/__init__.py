"""Readers of the bodies that model servers exchange: Ollama, OpenAI, Anthropic."""
