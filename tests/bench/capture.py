"""From packets to exchanges: our pipeline beside tcpflow, tshark and scapy, on one generated capture."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nightdesk.model.exchange import Exchange
from tests.bench.packets import CONNECTIONS, WHOLE, Truth, write_capture

ROUNDS = 2
MIDDLE, FEW = 366, 36
"""Exchanges of the smaller files, for programs that would take minutes and hours: 100,000 and 10,000 packets."""
SCAPY = """
import sys
from scapy.all import sniff
from scapy.layers.http import HTTPResponse
from scapy.packet import bind_layers
from scapy.layers.inet import TCP
from scapy.layers.http import HTTP
from scapy.sessions import TCPSession
bind_layers(TCP, HTTP, sport=11434)
bind_layers(TCP, HTTP, dport=11434)
seen = []
sniff(offline=sys.argv[1], session=TCPSession, store=False,
      prn=lambda packet: seen.append(1) if HTTPResponse in packet else None)
print(len(seen))
"""
ASSEMBLER = """
import sys
from nightdesk.core.capture.exchanges import Assembler
from nightdesk.core.capture.pcap import PcapReader
assembler, reader, count = Assembler(None, grow_every_ns=None), PcapReader(), 0
with open(sys.argv[1], "rb") as file:
    while block := file.read(1 << 20):
        count += len(assembler.feed_bursts(reader.bursts(block)))
count += len(assembler.finish(0))
"""
NIGHTDESK = (sys.executable, "-m", "nightdesk.cli.main")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program took."""

    cpu_s: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A generated capture."""

    path: Path
    packets: int
    truths: list[Truth]


def measure() -> list[tuple[str, ...]]:
    """Rows of program, its cost, and how it compares with us. All read the same generated traffic."""
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=_memory()) as memory:
        whole, middle, few = (
            _recording(Path(memory) / f"{size}.pcap", size) for size in (WHOLE, MIDDLE, FEW)
        )
        ours = _ours(whole)
        rows = [_row(*line) for line in ours]
        unit = ours[-1][1].cpu_s
        rows += [_row(*line, unit) for line in _tcpflow(whole, Path(disk) / "flows", Path(memory) / "flows")]
        rows += _beside("tshark -Y http -T fields", _tshark(middle), whole, middle, unit)
        rows += _beside("scapy, TCPSession with its HTTP layer", _scapy(few), whole, few, unit)
    return rows


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _recording(path: Path, exchanges: int) -> Recording:
    packets, truths = write_capture(path, exchanges)
    return Recording(path, packets, truths)


def _row(name: str, cost: Cost, remark: str, unit: float | None = None) -> tuple[str, ...]:
    times = f"{cost.cpu_s / unit:.2f} × nightdesk capture --json; " if unit else ""
    return name, f"{cost.cpu_s:.2f} CPU s, {cost.memory_mb:.0f} MB", times + remark


def _ours(whole: Recording) -> list[tuple[str, Cost, str]]:
    size = whole.path.stat().st_size / 1e6
    said = f"{whole.packets:,} packets, {size:.0f} MB, {len(whole.truths):,} exchanges, {CONNECTIONS} connections"
    path = str(whole.path)
    return [
        ("cat", _best(("cat", path)), said),
        ("our core alone", _best((sys.executable, "-c", ASSEMBLER, path)), "to finished exchanges"),
        (
            "nightdesk capture --json",
            _best((*NIGHTDESK, "capture", "--json", path)),
            f"exact: {_exact(whole)}; target: not above tcpflow, under 150 MB",
        ),
    ]


def _tcpflow(whole: Recording, *folders: Path) -> Iterator[tuple[str, Cost, str]]:
    for folder, place in zip(folders, ("on disk", "in memory"), strict=True):
        argv = ("tcpflow", "-e", "http", "-r", str(whole.path), "-o", str(folder))
        if shutil.which(argv[0]):
            used = _best(argv, folder)
            yield f"tcpflow -e http, files {place}", used, _bodies(whole, folder)


def _tshark(middle: Recording) -> Cost | None:
    argv = ("tshark", "-n", "-r", str(middle.path), "-Y", "http", "-T", "fields", "-e", "http.file_data")
    return cost(argv) if shutil.which(argv[0]) else None


def _scapy(few: Recording) -> Cost:
    start = cost((sys.executable, "-c", "import scapy.all"))
    used = cost((sys.executable, "-c", SCAPY, str(few.path)))
    return Cost(used.cpu_s - start.cpu_s, used.memory_mb)


def _beside(
    name: str, used: Cost | None, whole: Recording, part: Recording, unit: float
) -> list[tuple[str, ...]]:
    """The row of a program that read a part, as if it had read the whole."""
    if used is None:
        return [(name, "not measured", "not installed")]
    scaled = Cost(used.cpu_s * whole.packets / part.packets, used.memory_mb)
    return [_row(name, scaled, f"from {part.packets:,} packets", unit)]


def cost(argv: Sequence[str]) -> Cost:
    """CPU time and greatest memory of a command that must succeed."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{argv[0]} ended with status {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6)


def _best(argv: Sequence[str], folder: Path | None = None) -> Cost:
    """The cheapest of some rounds, each with an empty folder: others on the machine only ever add to it."""
    costs = []
    for _ in range(ROUNDS):
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        costs.append(cost(argv))
    return min(costs, key=lambda each: each.cpu_s)


def _exact(recording: Recording) -> str:
    """How many exchanges are what their clients know."""
    argv = (*NIGHTDESK, "capture", "--json", str(recording.path))
    decode = msgspec.json.Decoder(Exchange).decode
    right, count = 0, 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
        assert child.stdout
        for line, truth in zip(child.stdout, recording.truths, strict=True):
            count += 1
            right += _told(decode(line)) == truth
    return f"{right:,} of {count:,}"


def _told(exchange: Exchange) -> Truth | None:
    if exchange.state != "complete" or exchange.path is None or exchange.ended_ns is None:
        return None
    return Truth(
        path=exchange.path,
        text=exchange.text,
        fragments=exchange.fragments,
        reply_tokens=exchange.reply_tokens,
        dims=exchange.embeddings.dims if exchange.embeddings else None,
        request_sha256=exchange.request_sha256,
        response_sha256=exchange.response_sha256,
        started_ns=exchange.started_ns,
        first_token_ns=exchange.first_token_ns,
        ended_ns=exchange.ended_ns,
    )


def _bodies(recording: Recording, flows: Path) -> str:
    """How many response bodies tcpflow wrote as they were."""
    found = Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in flows.glob("*-HTTPBODY-*"))
    wanted = Counter(truth.response_sha256 for truth in recording.truths)
    return f"bodies: {(found & wanted).total():,} of {len(recording.truths):,}"
