"""Ends running exchanges, by the mildest way there is, and finds out whether the server really stopped.

A client that has left is not a server that is idle: the server's processes are looked at before and after, and so is
what it says of its models.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from nightdesk import __version__
from nightdesk.core.inspection.aftermath import Finding, Look, judge
from nightdesk.core.processes.tree import descendants
from nightdesk.engine.capture.servers import Servers
from nightdesk.engine.processes import signals
from nightdesk.engine.processes.table import LINUX, read_table
from nightdesk.engine.replay import Replays
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import CancelHow, CancelReport, CancelWay, CancelWays
from nightdesk.model.process import ProcessRef, SignalReport

logger = logging.getLogger(__name__)

BASELINE_SECONDS = 0.5
"""Of the server's processor time before anything is closed."""
LOOK_SECONDS = 0.4
WATCH_SECONDS = 6.0
"""How long the server is watched: a running token is finished first, and some notice late."""
END_SECONDS = 3.0
"""Until the capture must have seen the end of the connection."""
PS_SECONDS = 1.0
_CLOSE_WAIT = "08"
_ESTABLISHED = "01"


class Cancels:
    """Answers how an exchange can be ended, and ends it. Used from the event loop; looks block in threads."""

    def __init__(
        self,
        book: TrafficBook,
        replays: Replays,
        send: Callable[[bytes], None],
        is_relayed: Callable[[], bool],
    ) -> None:
        """``send`` writes a line to the capture process; ``is_relayed`` tells whether it is a relay now."""
        self._book = book
        self._replays = replays
        self._send = send
        self._is_relayed = is_relayed

    async def ways(self, exchange_id: int) -> CancelWays:
        """How this exchange can be ended, mildest first; none where it is not running."""
        exchange = self._running(exchange_id)
        if exchange is None:
            waits = self._replays.is_ours(exchange_id)
            queued = (CancelWay(how="replay", possible=True),) if waits else ()
            return CancelWays(exchange=exchange_id, running=waits, ways=queued)
        ways: tuple[CancelWay, ...]
        if exchange.replay_of is not None:
            ways = (CancelWay(how="replay", possible=True),)
        else:
            ways = (self._relay_way(), await self._process_way(exchange))
        return CancelWays(exchange=exchange_id, running=True, ways=ways)

    async def cancel(self, exchange_id: int, how: CancelHow) -> CancelReport:
        """End it by this way, and watch the server for some seconds. Raises UsageError where the way is closed."""
        found = await self.ways(exchange_id)
        way = next((way for way in found.ways if way.how == how), None)
        if not found.running:
            raise UsageError(f"Exchange {exchange_id} is not running.", "Only a running one can be ended.")
        if way is None or not way.possible:
            reason = way.reason if way else f"It can't be ended by way of the {how}."
            raise UsageError(f"Exchange {exchange_id} was left alone. {reason}")
        exchange = self._running(exchange_id)
        if exchange is None:
            self._replays.cancel(exchange_id)
            words = "Taken out of the queue; it was not sent."
            return CancelReport(exchange=exchange_id, how=how, ended=True, server_stopped=True, message=words)
        return await self._end(exchange, way)

    async def _end(self, exchange: Exchange, way: CancelWay) -> CancelReport:
        watch = _Watch(exchange, self._is_relayed() and way.how != "replay")
        before = await watch.begin()
        if self._running(exchange.id) is None:
            words = "It ended by itself before anything was closed."
            return CancelReport(exchange=exchange.id, how=way.how, ended=True, message=words)
        closed_ns = time.time_ns()
        report = await self._close(exchange, way)
        ended = await self._has_ended(exchange.id)
        finding = await watch.follow(before, closed_ns, lambda: self._others(exchange))
        logger.info("exchange %d ended by %s: the server %s", exchange.id, way.how, finding.words)
        return CancelReport(
            exchange=exchange.id,
            how=way.how,
            ended=ended,
            server_stopped=finding.stopped,
            process=exchange.process if way.how == "process" else None,
            message=f"{_done(way, report, ended)} The server {finding.words}.",
        )

    async def _close(self, exchange: Exchange, way: CancelWay) -> SignalReport | None:
        if way.how == "replay":
            self._replays.cancel(exchange.id)
        elif way.how == "relay":
            number = self._book.number_of(exchange.id)
            self._send(msgspec.json.encode({"cancel": number}))
        else:
            return await asyncio.to_thread(signals.signal_members, way.members, "stop")
        return None

    async def _has_ended(self, exchange_id: int) -> bool:
        until = time.monotonic() + END_SECONDS
        while self._running(exchange_id) is not None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.05)
        return True

    def _running(self, exchange_id: int) -> Exchange | None:
        held = self._book.held(exchange_id)
        return held if held is not None and held.state == "running" else None

    def _others(self, exchange: Exchange) -> int:
        port = _port(exchange.server_addr)
        return sum(
            other.id != exchange.id and _port(other.server_addr) == port for other in self._book.running()
        )

    def _relay_way(self) -> CancelWay:
        if self._is_relayed():
            return CancelWay(how="relay", possible=True)
        reason = "It does not go through the relay, so its connection is not ours to close."
        return CancelWay(how="relay", possible=False, reason=reason)

    async def _process_way(self, exchange: Exchange) -> CancelWay:
        process = exchange.process
        if process is None:
            return CancelWay(how="process", possible=False, reason="Its process is not known.")
        if process == exchange.server_process:
            return CancelWay(how="process", possible=False, reason="Its client is the model server itself.")
        key = ProcessKey(pid=process.pid, started_ns=process.started_ns)
        members = await asyncio.to_thread(signals.tree_of, key)
        if not members:
            reason = f"Its process {process.pid} is gone already."
            return CancelWay(how="process", possible=False, reason=reason)
        server = exchange.server_process
        if server is not None and any(member.key.pid == server.pid for member in members):
            reason = "The model server itself runs below that process and would be stopped as well."
            return CancelWay(how="process", possible=False, reason=reason, members=members)
        return CancelWay(how="process", possible=True, members=members)


def _done(way: CancelWay, report: SignalReport | None, ended: bool) -> str:
    """What was done, in one sentence."""
    if way.how == "process":
        assert report is not None
        count = len(report.gone)
        left = f" {len(report.left)} are still there." if report.left else ""
        refused = "".join(f" {sentence}" for sentence in report.refused)
        return f"{count} {'process' if count == 1 else 'processes'} stopped.{left}{refused}"
    where = "in the relay" if way.how == "relay" else "of the replay"
    if not ended:
        return f"The connection {where} was to be closed, but the exchange still runs."
    return f"The connection {where} is closed."


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isdecimal() else 0


class _Watch:
    """Looks at the server of one exchange."""

    def __init__(self, exchange: Exchange, is_relayed: bool) -> None:
        self._model = exchange.model
        self._server = exchange.server_addr
        # Behind a relay the server sees another connection than the client has.
        self._client = None if is_relayed else exchange.client_addr
        self._process: ProcessRef | None = exchange.server_process
        self._spent: dict[tuple[int, int], int] = {}
        self._at = 0.0

    async def begin(self) -> Look:
        """The server while it works."""
        if self._process is None:
            self._process = await asyncio.to_thread(Servers().find, self._server)
        await asyncio.to_thread(self._cpu_ratio)
        await asyncio.sleep(BASELINE_SECONDS)
        return await asyncio.to_thread(self._look)

    async def follow(self, before: Look, closed_ns: int, others: Callable[[], int]) -> Finding:
        """What became of the server's work, as soon as it is known."""
        looks: list[Look] = []
        until = time.monotonic() + WATCH_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks.append(await asyncio.to_thread(self._look))
            finding = judge(before, closed_ns, looks, others())
            if finding.final or time.monotonic() > until:
                return finding

    def _look(self) -> Look:
        return Look(
            at_ns=time.time_ns(),
            cpu_ratio=self._cpu_ratio(),
            kept_until=_kept_until(self._server, self._model),
            holds_connection=_holds(self._server, self._client),
        )

    def _cpu_ratio(self) -> float | None:
        """Processor time of the server and all below it since the last question, as share of one core."""
        if self._process is None:
            return None
        table = read_table()
        root = table.get(self._process.pid)
        if root is None or root.started_ns != self._process.started_ns:
            return None
        below = descendants((root.pid,), {pid: entry.ppid for pid, entry in table.items()})
        spent = {(pid, table[pid].started_ns): table[pid].cpu_ns for pid, _ in below if pid in table}
        used = sum(ns - self._spent.get(key, 0) for key, ns in spent.items() if key in self._spent)
        now = time.monotonic()
        passed, self._at, self._spent = now - self._at, now, spent
        return max(0.0, used / 1e9 / passed) if passed > 0 else None


class _Kept(msgspec.Struct):
    name: str | None = None
    expires_at: str | None = None


class _Running(msgspec.Struct):
    models: list[_Kept] | None = None


def _kept_until(address: str, model: str | None) -> str | None:
    """Until when the server keeps the model, as it says it; ``gone`` without the model; None where it can't tell."""
    if model is None:
        return None
    server = http.client.HTTPConnection("127.0.0.1", _port(address), timeout=PS_SECONDS)
    try:
        server.request("GET", "/api/ps", headers={"User-Agent": f"nightdesk/{__version__}"})
        with server.getresponse() as answer:
            said = msgspec.json.decode(answer.read(1_000_000), type=_Running)
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return None
    finally:
        server.close()
    for kept in said.models or ():
        if kept.name is not None and kept.name.removesuffix(":latest") == model.removesuffix(":latest"):
            return kept.expires_at
    return "gone"


def _holds(server: str, client: str | None) -> bool | None:
    """Whether the server's side of this connection is still open; None where the system does not show it."""
    if client is None or not LINUX:
        return None
    ends = f"{_port(server):04X}", f"{_port(client):04X}"
    known = False
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        known = True
        for line in lines:
            words = line.split()
            places = words[1].rpartition(":")[2], words[2].rpartition(":")[2]
            if places == ends and words[3] in (_CLOSE_WAIT, _ESTABLISHED):
                return True
    return False if known else None
