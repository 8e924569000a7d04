"""``python -m nightdesk.engine.capture``: prints what passes between clients and model servers, a line for each event.

It ends when its standard input does, and on SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nightdesk.engine.capture.session import Options, run


def main(argv: list[str] | None = None) -> int:
    """Read the arguments and capture; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nightdesk.engine.capture", description=__doc__)
    parser.add_argument(
        "--source", choices=["auto", "scapy", "tcpdump", "relay", "file", "off"], default="auto"
    )
    parser.add_argument("--file", type=Path, help="the capture file of the source file")
    parser.add_argument(
        "--ports", type=_ports, default=(11434,), help="ports of model servers, comma-separated"
    )
    parser.add_argument("--interface", help="the loopback interface where absent")
    parser.add_argument(
        "--relay-port", type=int, default=0, help="where the relay listens; 0 takes a free port"
    )
    parser.add_argument("--record", choices=["full", "metadata", "none"], default="full")
    parser.add_argument("--max-body", type=int, default=4_000_000, help="bytes of a body that are kept")
    asked = parser.parse_args(argv)
    if not asked.ports and asked.source != "file":
        parser.error("give one or more port numbers, separated by commas")
    if asked.source == "file":
        from nightdesk.engine.capture.recording import run_recording

        return run_recording(
            asked.file or parser.error("--source file needs --file"),
            asked.ports,
            record=asked.record,
            max_body_bytes=asked.max_body,
        )
    return run(
        Options(
            source=asked.source,
            ports=asked.ports,
            interface=asked.interface,
            relay_port=asked.relay_port,
            record=asked.record,
            max_body_bytes=asked.max_body,
        )
    )


def _ports(text: str) -> tuple[int, ...]:
    ports = tuple(int(part) for part in text.split(",") if part.strip())
    if not all(0 < port < 65536 for port in ports):
        raise argparse.ArgumentTypeError("give port numbers, separated by commas")
    return ports


if __name__ == "__main__":
    sys.exit(main())
