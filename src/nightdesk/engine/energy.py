"""Keeps the energy of runs, items, exchanges and the night, and writes it down so that a new engine goes on with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nightdesk.core.sensors.energy import (
    IdlePower,
    Share,
    Span,
    Tally,
    add_items,
    add_sample,
    basis,
    bill,
    power_of,
    tokens_per_joule,
    window_of,
)
from nightdesk.model.config import EnergySection
from nightdesk.model.energy import (
    Bill,
    DeskEnergy,
    Energy,
    EnergyReport,
    ExchangeEnergy,
    ItemEnergy,
    RunEnergy,
)
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import ENDED, Run
from nightdesk.model.sample import Sample

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

RUNS_KEPT, ITEMS_KEPT, EXCHANGES_KEPT = 300, 5000, 2000
REPORTED = 5
SAVE_NS = 60 * 10**9
_ITEM_MARK = "\n"
"""Between run and item in a key: neither holds a line end."""


class _Book(msgspec.Struct):
    """What is written down."""

    idle_w: float | None = None
    parts: tuple[str, ...] = ()
    since_ns: int = 0
    night: Tally = msgspec.field(default_factory=Tally)
    runs: dict[str, Tally] = {}
    items: dict[str, Tally] = {}


class EnergyKeeper:
    """Takes every sample once; ``runs`` and ``rows`` tell what is in work, ``section`` what energy costs."""

    def __init__(
        self,
        path: Path,
        runs: Callable[[], Iterable[Run]],
        rows: Callable[[], Iterable[ExchangeRow]],
        section: Callable[[], EnergySection],
    ) -> None:
        self._path = path
        self._runs = runs
        self._rows = rows
        self._section = section
        self._book = _read(path)
        self._idle = IdlePower(self._book.idle_w)
        self._exchanges: dict[int, Tally] = {}
        self._flights: dict[str, dict[str, Span]] = {}
        self._saved_ns = time.time_ns()

    def follow(self, run: Run) -> None:
        """Notes which items of ``run`` are in work from now on."""
        now_ns = time.time_ns()
        known = self._flights.setdefault(run.id, {})
        flying = {flight.item: flight.started_ns or now_ns for flight in run.flights if flight.item}
        for item, span in known.items():
            if item not in flying and span.end_ns is None:
                known[item] = span._replace(end_ns=now_ns)
        known.update((item, Span(start)) for item, start in flying.items())

    def take(self, sample: Sample) -> None:
        """Adds one sample to everything that ran in its time."""
        window, power = window_of(sample), power_of(sample)
        if window is None or power is None:
            return
        book, start_ns = self._book, window.start_ns
        runs = {run.id: span for run in self._runs() if (span := _run_span(run)) is not None}
        exchanges = {
            row.id: Span(row.started_ns, row.ended_ns)
            for row in self._rows()
            if row.ended_ns is None or row.ended_ns > start_ns
        }
        shares = add_sample(sample, runs, book.runs, RUNS_KEPT)
        for run_id, share in shares.items():
            self._add_items(sample, run_id, share)
        if not add_sample(sample, exchanges, self._exchanges, EXCHANGES_KEPT) and not shares:
            self._idle.take(power.watts)
        self._add_night(sample)
        book.parts, book.idle_w = power.parts, self._idle.watts
        self._forget_flights(start_ns, set(runs))
        if sample.at_ns - self._saved_ns >= SAVE_NS:
            self.save()

    def run(self, run_id: str, reply_tokens: int | None = None) -> RunEnergy:
        """The energy of a run. Raises UsageError where none was measured."""
        tally = self._book.runs.get(run_id)
        if tally is None:
            raise UsageError(f"No energy is known of run {run_id}.", self._basis())
        energy = tally.energy(self._idle.watts)
        start = f"{run_id}{_ITEM_MARK}"
        items = tuple(
            ItemEnergy(item=key[len(start) :], energy=one.energy(self._idle.watts))
            for key, one in self._book.items.items()
            if key.startswith(start)
        )
        return RunEnergy(
            run=run_id,
            energy=energy,
            bill=self._bill(energy),
            items=items,
            reply_tokens=reply_tokens,
            tokens_per_joule=tokens_per_joule(reply_tokens, energy),
            basis=self._basis(),
        )

    def report(self) -> EnergyReport:
        """The night, and the runs in work or ended last, newest first."""
        newest = sorted(self._runs(), key=lambda run: run.created_ns, reverse=True)
        known = [run.id for run in newest if run.id in self._book.runs][:REPORTED]
        runs = (msgspec.structs.replace(self.run(run_id), items=()) for run_id in known)
        return EnergyReport(desk=self.desk(), runs=tuple(runs))

    def exchange(self, exchange_id: int, reply_tokens: int | None = None) -> ExchangeEnergy:
        """The energy of an exchange of this engine's life. Raises UsageError where none was measured."""
        tally = self._exchanges.get(exchange_id)
        if tally is None:
            raise UsageError(f"No energy is known of exchange {exchange_id}.", self._basis())
        energy = tally.energy(self._idle.watts)
        return ExchangeEnergy(
            exchange=exchange_id,
            energy=energy,
            bill=self._bill(energy),
            tokens_per_joule=tokens_per_joule(reply_tokens, energy),
            basis=self._basis(),
        )

    def joules(self, exchange_id: int) -> float | None:
        """What an exchange of this engine's life used, above idle where that is known; None if it was not measured."""
        tally = self._exchanges.get(exchange_id)
        if tally is None:
            return None
        energy = tally.energy(self._idle.watts)
        return energy.gross_j if energy.energy_j is None else energy.energy_j

    @property
    def basis(self) -> str:
        """What all of it rests on, in a sentence."""
        return self._basis()

    def desk(self) -> DeskEnergy | None:
        """The night so far; None where nothing reports its power."""
        book = self._book
        if not book.night.measured_ns:
            return None
        energy = book.night.energy(self._idle.watts)
        return DeskEnergy(
            since_ns=book.since_ns,
            energy=energy,
            bill=self._bill(energy),
            idle_w=self._idle.watts,
            parts=book.parts,
            basis=self._basis(),
        )

    def save(self) -> None:
        """Writes everything down; a full disk costs the numbers since the last time, nothing else."""
        self._saved_ns = time.time_ns()
        if not self._book.night.measured_ns:
            return
        beside = self._path.with_suffix(".new")
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(self._book))
            beside.replace(self._path)
        except OSError:
            beside.unlink(missing_ok=True)

    def _basis(self) -> str:
        return basis(self._book.parts, self._idle.watts)

    def _bill(self, energy: Energy) -> Bill:
        section = self._section()
        return bill(energy, section.price_per_kwh, section.currency)

    def _add_items(self, sample: Sample, run_id: str, share: Share) -> None:
        spans = {f"{run_id}{_ITEM_MARK}{item}": span for item, span in self._flights.get(run_id, {}).items()}
        if spans:
            add_items(sample, share, spans, self._book.items, ITEMS_KEPT)

    def _add_night(self, sample: Sample) -> None:
        noon_ns = last_noon_ns(sample.at_ns)
        if self._book.since_ns < noon_ns:
            self._book.since_ns, self._book.night = noon_ns, Tally()
        tallies = {"": self._book.night}
        add_sample(sample, {"": Span(noon_ns)}, tallies, 1)

    def _forget_flights(self, before_ns: int, active: set[str]) -> None:
        for run_id, spans in list(self._flights.items()):
            for item, span in list(spans.items()):
                if span.end_ns is not None and span.end_ns < before_ns:
                    del spans[item]
            if not spans and run_id not in active:
                del self._flights[run_id]


def keep_energy(service: Service) -> EnergyKeeper:
    """The keeper of an engine, which writes beside its store."""
    path = service.desk.state / "energy.json"
    runs, rows = service.supervisor.runs, service.traffic.rows
    return EnergyKeeper(path, runs, rows, lambda: service.desk.config.energy)


def _run_span(run: Run) -> Span | None:
    """When a run was at work: while it is paused it uses nothing."""
    if run.started_ns is None or (run.state in ENDED and run.ended_ns is None):
        return None
    return Span(run.started_ns, run.ended_ns or (run.paused_ns if run.state == "paused" else None))


def last_noon_ns(now_ns: int) -> int:
    """The newest noon of this machine's time zone: a night belongs to the day on which it began."""
    now = datetime.fromtimestamp(now_ns / 1e9)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    return int((noon if now >= noon else noon - timedelta(days=1)).timestamp()) * 10**9


def _read(path: Path) -> _Book:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Book)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return _Book()
