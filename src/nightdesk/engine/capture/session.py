"""One capture from its beginning to its end: opens the source, watches, reports, ends with its parent."""

from __future__ import annotations

import contextlib
import select
import time
from dataclasses import dataclass
from typing import Literal

import msgspec

from nightdesk.core.capture.exchanges import Assembler
from nightdesk.engine.capture.ending import Ending
from nightdesk.engine.capture.owners import Owners, Senses, open_senses
from nightdesk.engine.capture.recorder import Recorder
from nightdesk.engine.capture.sources import InterfaceError, Source, is_up, loopback_name, open_source
from nightdesk.model.errors import CaptureError, NightdeskError
from nightdesk.model.exchange import CaptureStatus

TICK_SECONDS = 0.1
GRACE_SECONDS = 0.06
"""A tick may be late by this: where packets come all the time, they wake us up often enough."""
QUIET_TICK_SECONDS = 1.0
"""While no packets come: what is still due by then takes seconds or hours."""
QUIET_AFTER_SECONDS = 2.0
STATUS_SECONDS = 5.0
AGAIN_SECONDS = 0.5
"""Between two looks whether an interface that went away is back."""
NOT_OURS = "Exchange {} was not ended: packets are only read here, its connection is not ours to close."


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    source: Literal["auto", "scapy", "tcpdump", "relay", "off"] = "auto"
    ports: tuple[int, ...] = (11434,)
    interface: str | None = None
    relay_port: int = 0
    record: Literal["full", "metadata", "none"] = "full"
    max_body_bytes: int = 4_000_000


def run(options: Options) -> int:
    """Capture until told to end; returns the exit code. What goes wrong is printed as a state line."""
    ending = Ending()
    ports = options.ports
    interface = options.interface or loopback_name()
    senses = open_senses(interface, ports) if options.source not in ("relay", "off") else Senses()
    owners = Owners(ending.notify, senses)
    assembler = Assembler(frozenset(ports), max_body_bytes=options.max_body_bytes, record=options.record)
    recorder = Recorder(assembler, owners)
    try:
        recorder.status(
            CaptureStatus(state="starting", source=options.source, interface=interface, ports=ports)
        )
        return _capture(options, interface, recorder, ending)
    except BrokenPipeError:
        return 0
    except Exception as fault:  # noqa: BLE001 - whatever happens must be seen by the user, never be silence
        message = str(fault) if isinstance(fault, NightdeskError) else f"{type(fault).__name__}: {fault}"
        with contextlib.suppress(OSError):
            recorder.status(
                CaptureStatus(
                    state="failed", source=options.source, interface=interface, ports=ports, message=message
                )
            )
        return 1
    finally:
        owners.close()


def _capture(options: Options, interface: str, recorder: Recorder, ending: Ending) -> int:
    if options.source == "off":
        _stay(options, recorder, ending)
        return 0
    source, lacks = (None, "")
    if options.source != "relay":
        source, lacks = open_source(options.source, interface, options.ports)
    if source is None:
        from nightdesk.engine.capture.relay import run_relays

        try:
            run_relays(options.ports, options.relay_port, lacks, recorder, ending)
        finally:
            recorder.finish()
        return 0
    watched = Watched(source, lacks, options.ports)
    try:
        while not _watch(watched, recorder, ending):
            watched.reopen(recorder, ending)
    finally:
        with contextlib.suppress(BrokenPipeError):
            recorder.finish()
        watched.source.close()
    return 0


class Watched:
    """The source that is read, also after it was opened anew."""

    def __init__(self, source: Source, lacks: str, ports: tuple[int, ...]) -> None:
        self.source = source
        self.lacks = lacks
        self.ports = ports
        self._packets = 0
        self._dropped = 0

    def status(self, message: str | None = None) -> CaptureStatus:
        """The state line, with the counters since the beginning."""
        dropped = self.source.dropped()
        return CaptureStatus(
            state="live",
            source=self.source.name,
            interface=self.source.interface,
            ports=self.ports,
            packets=self._packets + self.source.packets,
            dropped=None if dropped is None else self._dropped + dropped,
            message=message or self.lacks or None,
        )

    def reopen(self, recorder: Recorder, ending: Ending) -> None:
        """Wait until the interface is there again, and go on with it: what is open is not given up."""
        before = self.source
        self._packets += before.packets
        self._dropped += before.dropped() or 0
        before.close()
        while not ending.asked:
            ending.look(select.select(ending.wait_on, [], [], AGAIN_SECONDS)[0])
            recorder.tick()
            recorder.flush()
            if is_up(before.interface):
                with contextlib.suppress(CaptureError):
                    found, self.lacks = open_source(before.name, before.interface, self.ports)
                    self.source = found or before
                    return


def _stay(options: Options, recorder: Recorder, ending: Ending) -> None:
    message = "Capture is off in the configuration."
    while not ending.asked:
        recorder.status(CaptureStatus(state="live", source="none", ports=options.ports, message=message))
        ending.look(select.select(ending.wait_on, [], [], STATUS_SECONDS)[0])


def _watch(watched: Watched, recorder: Recorder, ending: Ending) -> bool:
    """Read until told to end; False where the interface went away before that."""
    source = watched.source
    here = source.fileno()
    waits = [*ending.wait_on, here]
    report_at = tick_at = heard_at = 0.0
    while not ending.asked:
        now = time.monotonic()
        if now >= report_at:
            recorder.status(watched.status())
            report_at = now + STATUS_SECONDS
        ready = select.select(waits, [], [], max(0.0, min(tick_at + GRACE_SECONDS, report_at) - now))[0]
        if here in ready:
            if not source.packets:
                # That the first packet came is news: capture works.
                report_at = 0.0
            try:
                recorder.packets(source.read())
            except InterfaceError as fault:
                recorder.status(msgspec.structs.replace(watched.status(str(fault)), state="failed"))
                return False
            heard_at, tick_at = now, min(tick_at, now + TICK_SECONDS)
        if len(ready) != (here in ready):
            ending.look(ready)
            for exchange in ending.cancelled():
                recorder.status(watched.status(NOT_OURS.format(exchange)))
        recorder.absorb()
        if (now := time.monotonic()) >= tick_at:
            recorder.tick()
            quiet = now - heard_at > QUIET_AFTER_SECONDS
            tick_at = now + (QUIET_TICK_SECONDS if quiet else TICK_SECONDS)
        recorder.flush()
    return True
