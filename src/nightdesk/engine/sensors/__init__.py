"""The sensor child process: powermetrics, NVML, host counters, and the engine's side of its pipe."""
