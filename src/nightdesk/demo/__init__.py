"""A model server that speaks Ollama's wire format, and a small pipeline that uses it."""
