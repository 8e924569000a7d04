"""The arguments with which the engine starts its child processes, from the configuration of its desk."""

from __future__ import annotations

from nightdesk.client.desk import Desk
from nightdesk.model.config import span_ns


def capture_argv(desk: Desk) -> list[str]:
    """For the process that captures."""
    capture = desk.config.capture
    argv = ["-m", "nightdesk.engine.capture", "--source", capture.source]
    argv += ["--ports", ",".join(map(str, capture.ports)), "--relay-port", str(capture.relay_port)]
    argv += ["--record", capture.record, "--max-body", str(capture.max_body_bytes)]
    argv += ["--file", str(desk.folder / capture.file)] if capture.file else []
    return argv + (["--interface", capture.interface] if capture.interface else [])


def sensor_argv(desk: Desk) -> list[str]:
    """For the process that measures."""
    sensors = desk.config.sensors
    interval_ms = span_ns(sensors.interval) // 10**6
    argv = ["-m", "nightdesk.engine.sensors", "--source", sensors.source, "--interval-ms", str(interval_ms)]
    return argv + (["--file", str(desk.folder / sensors.file)] if sensors.file else [])
