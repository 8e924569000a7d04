"""What is heard of a transcription: events, other programs' logs, quality, words."""
