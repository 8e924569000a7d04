"""The only command lines that Nightdesk ever runs through ``sudo``, word for word.

``sudoers.d.example`` permits exactly these: sudo compares the whole argument list, so code that starts one of
them must take it from here unchanged. None of the words is ever built from configuration or input.
"""

from __future__ import annotations

from typing import Final

SUDO: Final = ("sudo", "-n")
"""Never asks for a password: a hidden prompt would hang the screen."""

POWERMETRICS_ARGV: Final = (
    "/usr/bin/powermetrics",
    "--samplers",
    "cpu_power,gpu_power,thermal",
    "-f",
    "plist",
    "-i",
    "1000",
    "-a",
    "0",
)

PRIVILEGED_PORT: Final = 11434
"""The port in the permitted tcpdump line: Ollama's own. Other ports need capture rights without sudo."""

# -n: no name lookups. -U: each packet is written at once. -s 0: whole packets. --immediate-mode: no waiting for
# a full buffer. -B 32768: 32 MiB of kernel buffer, because one reply of 1 MB fills the default one.
_OPTIONS: Final = ("-n", "-U", "-s", "0", "--immediate-mode", "-B", "32768", "-w", "-")
_FILTER: Final = ("tcp", "port", str(PRIVILEGED_PORT))

TCPDUMP_ARGV_LINUX: Final = ("/usr/bin/tcpdump", "-i", "lo", *_OPTIONS, *_FILTER)
TCPDUMP_ARGV_MACOS: Final = ("/usr/sbin/tcpdump", "-i", "lo0", *_OPTIONS, *_FILTER)


def tcpdump_argv(platform: str) -> tuple[str, ...]:
    """The permitted tcpdump command line on ``platform`` (as ``sys.platform`` names it), without ``sudo -n``."""
    return TCPDUMP_ARGV_MACOS if platform == "darwin" else TCPDUMP_ARGV_LINUX
