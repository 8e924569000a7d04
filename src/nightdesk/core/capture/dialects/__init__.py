"""What model servers say: readers for the dialects of Ollama, OpenAI and Anthropic, and for prompts."""
