"""The capture child process: live sources, attribution, and the engine's side of its pipe."""
