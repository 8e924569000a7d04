"""Live capture on loopback: what is lost, what it costs, what the watched server and a relay's clients feel of it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

from nightdesk.model.exchange import CaptureLine, CaptureStatus, ExchangeSeen, capture_decoder
from tests.bench.machine import cpu_seconds

Found = TypeVar("Found")
HERE = Path(__file__).parent
SECONDS = 5.0
BODY_SECONDS = 3.0
ROUNDS = 3
TOP_ROUNDS = 5
REQUESTS = 500
RATES = (800, 40_000, 160_000)
BODIES_PER_SECOND = 1_000
TOKENS = b'POST /api/generate?%d&%f HTTP/1.1\r\nHost: bench\r\nContent-Length: 13\r\n\r\n{"model":"m"}'
"""Asks the burst server for so many tokens a second, for so many seconds."""


def measure() -> list[tuple[str, ...]]:
    """Rows of load, figures, and what was reached with its target."""
    with _program("burst_server.py") as server:
        port = int(server.until(lambda said: said[:-1] if said.endswith(b"\n") else None))
        if why := _refusal():
            rows: list[tuple[str, ...]] = [("live capture", "not measured", why)]
        else:
            rows = [_tokens(port, rate) for rate in RATES]
            rows += [_bodies(port), _effect(port)]
        return rows + _relays(port)


def _refusal() -> str | None:
    if not sys.platform.startswith("linux"):
        return "measured on Linux only"
    with contextlib.suppress(PermissionError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0):
        return None
    return "needs root or CAP_NET_RAW"


class Program:
    """A running Python program; what it prints goes to a file, so that reading costs nothing meanwhile."""

    def __init__(self, argv: tuple[str, ...], said: int) -> None:
        self._said = said
        self.process = subprocess.Popen([sys.executable, *argv], stdin=subprocess.PIPE, stdout=said)

    def said(self) -> bytes:
        """Everything so far."""
        return os.pread(self._said, os.fstat(self._said).st_size, 0)

    def until(self, look: Callable[[bytes], Found | None]) -> Found:
        """The first thing that ``look`` finds in what was said."""
        limit = time.monotonic() + 20
        while (found := look(self.said())) is None:
            if time.monotonic() > limit or self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args!r} does not begin")
            time.sleep(0.02)
        return found

    def lines(self) -> list[CaptureLine]:
        """Whole lines of a capture process."""
        said = self.said()
        return [capture_decoder.decode(line) for line in said[: said.rfind(b"\n") + 1].splitlines()]


@contextmanager
def _program(*argv: str) -> Iterator[Program]:
    with tempfile.TemporaryFile() as file:
        if argv[0].endswith(".py"):
            argv = (str(HERE / argv[0]), *argv[1:])
        program = Program(argv, file.fileno())
        try:
            yield program
        finally:
            assert program.process.stdin
            program.process.stdin.close()
            program.process.kill()
            program.process.wait()


@contextmanager
def _capture(source: str, port: int) -> Iterator[tuple[Program, CaptureStatus]]:
    with _program("-m", "nightdesk.engine.capture", "--source", source, "--ports", str(port)) as program:
        yield program, program.until(lambda _: next(iter(_live(program)), None))


def _live(program: Program) -> list[CaptureStatus]:
    return [line for line in program.lines() if isinstance(line, CaptureStatus) and line.state == "live"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a capture process said about one load, and what it cost."""

    cpu_s: float
    packets: int
    dropped: int
    fragments: int
    response_bytes: int
    not_whole: int


def _watch(port: int, load: Callable[[], Found]) -> tuple[Found, Seen]:
    """Runs the load beside a capture process."""
    with _capture("scapy", port) as (program, _):
        before = cpu_seconds(program.process.pid)
        result = load()
        # The counters come every few seconds: the second status from now was read behind the load.
        known = len(_live(program))
        program.until(lambda _: len(_live(program)) >= known + 2 or None)
        spent = cpu_seconds(program.process.pid) - before
        last = _live(program)[-1]
        seen = [line.exchange for line in program.lines() if isinstance(line, ExchangeSeen)]
        ended = [exchange for exchange in seen if exchange.state != "running"]
    return result, Seen(
        spent,
        last.packets,
        last.dropped or 0,
        sum(exchange.fragments for exchange in ended),
        sum(exchange.response_bytes for exchange in ended),
        sum(exchange.state != "complete" for exchange in ended),
    )


def _ask_tokens(port: int, rate: int, seconds: float) -> tuple[int, float]:
    """Tokens that the server sent, and in how many seconds."""
    buffer, end = bytearray(1 << 20), b""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(TOKENS % (rate, seconds))
        while not end.endswith(b"0\r\n\r\n"):
            size = client.recv_into(buffer)
            end = (end + bytes(buffer[max(0, size - 256) : size]))[-256:]
    last = json.loads(end[end.rfind(b"{") : end.rfind(b"}") + 1])
    return last["eval_count"], last["eval_duration"] / 1e9


def _tokens(port: int, rate: int) -> tuple[str, ...]:
    (sent, took), seen = _watch(port, lambda: _ask_tokens(port, rate, SECONDS))
    target = "1 % of a core" if rate < 1_000 else "none lost, 40 % of a core at 160,000/s"
    return (
        f"tokens, {rate:,}/s asked for",
        f"{seen.dropped} packets lost, {seen.cpu_s / took:.1%} of a core",
        f"{sent / took:,.0f}/s reached, {seen.fragments:,} of {sent + 1:,} seen; target: {target}",
    )


def _ask_bodies(port: int) -> tuple[int, int, float]:
    """Bodies, their bytes, and the seconds that they took."""
    client, count, size = HTTPConnection("127.0.0.1", port), 0, 0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < BODY_SECONDS:
        if passed * BODIES_PER_SECOND < count:
            time.sleep(0.0005)
            continue
        client.request("GET", "/api/embed")
        size += len(client.getresponse().read())
        count += 1
    client.close()
    return count, size, passed


def _bodies(port: int) -> tuple[str, ...]:
    (count, size, took), seen = _watch(port, lambda: _ask_bodies(port))
    return (
        f"bodies of 1 MB, {BODIES_PER_SECOND:,}/s asked for",
        f"{seen.dropped} packets lost, {seen.cpu_s / took:.1%} of a core",
        f"{count / took:,.0f}/s reached, {seen.response_bytes:,} of {size:,} bytes seen, "
        f"{seen.not_whole} exchanges not whole; target: none lost",
    )


def _effect(port: int) -> tuple[str, ...]:
    alone: list[float] = []
    watched: list[float] = []
    for _ in range(TOP_ROUNDS):
        for rates, guard in ((alone, contextlib.nullcontext()), (watched, _capture("scapy", port))):
            with guard:
                count, took = _ask_tokens(port, 0, 2.0)
            rates.append(count / took)
    ratio = max(watched) / max(alone)
    return (
        "watched server, as fast as it can",
        f"{ratio:.2f} of its top rate",
        f"alone {max(alone):,.0f} tokens/s, best of {TOP_ROUNDS}; target: 0.85",
    )


def _relays(port: int) -> list[tuple[str, ...]]:
    """Direct, through a plain relay and through ours, in turns."""
    with _program("plain_relay.py", str(port)) as plain, _capture("relay", port) as (_, status):
        assert status.relay
        ways = {
            "direct": port,
            "plain": int(plain.until(lambda said: said[:-1] if said.endswith(b"\n") else None)),
            "ours": int(status.relay.rpartition(":")[2]),
        }
        requests: dict[str, list[float]] = {name: [] for name in ways}
        tokens: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                requests[name].append(_request_ms(way))
                count, took = _ask_tokens(way, 0, 2.0)
                tokens[name].append(took / count * 1e6)
    return [
        _relay_row("relay, ms a request", requests),
        _relay_row("relay, µs a token at full speed", tokens),
    ]


def _relay_row(name: str, taken: dict[str, list[float]]) -> tuple[str, ...]:
    direct, plain, ours = (statistics.median(taken[way]) for way in ("direct", "plain", "ours"))
    said = f"direct {direct:.3f}, plain asyncio relay {plain:.3f}: {ours / plain:.2f} ×; target: 1.3 ×"
    return name, f"{ours:.3f}", said


def _request_ms(port: int) -> float:
    """Median of small requests on one connection."""
    taken = []
    request = TOKENS % (1, 0.0)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(REQUESTS):
            began, got = time.perf_counter(), b""
            client.sendall(request)
            while not got.endswith(b"0\r\n\r\n"):
                got += client.recv(65_536)
            taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)
