"""Keeps the energy of runs, items, exchanges and the night, and writes it down so that a new engine goes on with it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from nightdesk.core.sensors.energy import (
    IdlePower,
    Share,
    Span,
    Tally,
    add_items,
    add_sample,
    after,
    basis,
    bill,
    power_of,
    tokens_per_joule,
    window_of,
)
from nightdesk.engine.store.energies import KeptEnergy
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
SETTLE_NS = 2 * 10**9
"""So late may news of an exchange come: a sample waits for it before it is shared out."""
IDLES_KEPT = 8
NOT_MEASURED = "No source told power in its time so far."
_ITEM_MARK = "\n"
"""Between run and item in a key: neither holds a line end."""


class Shelf(Protocol):
    """Keeps the energy of exchanges beyond the life of an engine."""

    def save_energy(self, exchange_id: int, kept: KeptEnergy) -> None:
        """Record what an exchange used."""

    def energy(self, exchange_id: int) -> KeptEnergy | None:
        """What an exchange used."""

    def joules(self) -> dict[int, float]:
        """Joules of exchanges by their ids."""


class _Book(msgspec.Struct):
    """What is written down."""

    idle_w: float | None = None
    parts: tuple[str, ...] = ()
    idles: dict[str, float] = {}
    """Idle use by the parts that are measured: with another part it is another number."""
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
        shelf: Shelf | None = None,
        settle_ns: int = 0,
    ) -> None:
        self._path = path
        self._shelf = shelf
        self._settle_ns = settle_ns
        self._waiting: deque[Sample] = deque()
        self._counted_ns = 0
        self._runs = runs
        self._rows = rows
        self._section = section
        self._book = _read(path)
        if self._book.idle_w is not None and not self._book.idles:
            self._book.idles.setdefault(", ".join(self._book.parts), self._book.idle_w)
        self._idles: dict[str, IdlePower] = {}
        self._exchanges: dict[int, Tally] = {}
        self._shelved: set[int] = set()
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
        """Adds the samples until now to everything that ran in their time, as soon as that is known."""
        self._waiting.append(sample)
        # A clock that was set back must not hold them up.
        while self._waiting and not 0 <= sample.at_ns - self._waiting[0].at_ns < self._settle_ns:
            self._add(self._waiting.popleft())
        if sample.at_ns - self._saved_ns >= SAVE_NS:
            self._write()

    def _add(self, sample: Sample) -> None:
        sample = after(sample, self._counted_ns)
        self._counted_ns = sample.at_ns
        window, power = window_of(sample), power_of(sample)
        if window is None or power is None:
            return
        book, start_ns = self._book, window.start_ns
        book.parts = power.parts
        idle_w = self._idle_w
        runs = {run.id: span for run in self._runs() if (span := _run_span(run)) is not None}
        rows = tuple(self._rows())
        exchanges = {
            row.id: Span(row.started_ns, row.ended_ns)
            for row in rows
            if row.ended_ns is None or row.ended_ns > start_ns
        }
        shares = add_sample(sample, runs, book.runs, RUNS_KEPT, idle_w)
        for run_id, share in shares.items():
            self._add_items(sample, run_id, share, idle_w)
        if not add_sample(sample, exchanges, self._exchanges, EXCHANGES_KEPT, idle_w) and not shares:
            self._learn_idle(power.watts)
        self._add_night(sample, idle_w)
        self._forget_flights(start_ns, set(runs))
        self._put_away(row.id for row in rows if row.ended_ns is not None and row.ended_ns <= sample.at_ns)

    @property
    def _idle_w(self) -> float | None:
        """What the parts that are measured now use when nothing of the desk runs."""
        key = ", ".join(self._book.parts)
        learned = self._idles.get(key)
        return self._book.idles.get(key) if learned is None else learned.watts

    def _learn_idle(self, watts: float) -> None:
        book, key = self._book, ", ".join(self._book.parts)
        idle = self._idles.setdefault(key, IdlePower(book.idles.get(key)))
        idle.take(watts)
        book.idle_w = idle.watts
        if idle.watts is not None:
            book.idles[key] = idle.watts
        while len(book.idles) > IDLES_KEPT:
            del book.idles[next(iter(book.idles))]

    def _put_away(self, ended: Iterable[int]) -> None:
        """Records exchanges that no sample tells of any more."""
        for exchange_id in ended:
            tally = self._exchanges.get(exchange_id)
            if tally is not None and self._shelf is not None and exchange_id not in self._shelved:
                self._shelved.add(exchange_id)
                self._shelf.save_energy(exchange_id, KeptEnergy(tally, self._book.parts, self._idle_w))
        self._shelved &= self._exchanges.keys()

    def run(self, run_id: str, reply_tokens: int | None = None) -> RunEnergy:
        """The energy of a run. Raises UsageError where none was measured."""
        tally = self._book.runs.get(run_id)
        if tally is None:
            raise UsageError(f"No energy is known of run {run_id}.", self._why_none())
        idle_w = self._idle_w
        energy = tally.energy(idle_w)
        items = tuple(ItemEnergy(item=item, energy=one) for item, one in self.items(run_id).items())
        return RunEnergy(
            run=run_id,
            energy=energy,
            bill=self._bill(energy),
            items=items,
            reply_tokens=reply_tokens,
            tokens_per_joule=tokens_per_joule(reply_tokens, energy),
            basis=basis(self._book.parts, tally.idle(idle_w)),
        )

    def items(self, run_id: str) -> dict[str, Energy]:
        """The energy of the items of a run by their names; empty where none was measured."""
        idle_w, start = self._idle_w, f"{run_id}{_ITEM_MARK}"
        found = self._book.items.items()
        return {key[len(start) :]: one.energy(idle_w) for key, one in found if key.startswith(start)}

    def report(self) -> EnergyReport:
        """The night, and the runs in work or ended last, newest first."""
        newest = sorted(self._runs(), key=lambda run: run.created_ns, reverse=True)
        known = [run.id for run in newest if run.id in self._book.runs][:REPORTED]
        runs = (msgspec.structs.replace(self.run(run_id), items=()) for run_id in known)
        return EnergyReport(desk=self.desk(), runs=tuple(runs))

    def exchange(self, exchange_id: int, reply_tokens: int | None = None) -> ExchangeEnergy:
        """The energy of an exchange. Raises UsageError where none was measured. Reads the store: not for the loop."""
        kept = self._kept(exchange_id)
        if kept is None:
            raise UsageError(f"No energy is known of exchange {exchange_id}.", self._why_none())
        energy = kept.tally.energy(kept.idle_w)
        return ExchangeEnergy(
            exchange=exchange_id,
            energy=energy,
            bill=self._bill(energy),
            tokens_per_joule=tokens_per_joule(reply_tokens, energy),
            basis=basis(kept.parts, kept.tally.idle(kept.idle_w)),
        )

    def _kept(self, exchange_id: int) -> KeptEnergy | None:
        tally = self._exchanges.get(exchange_id)
        if tally is not None:
            return KeptEnergy(tally, self._book.parts, self._idle_w)
        return self._shelf.energy(exchange_id) if self._shelf is not None else None

    def joules(self) -> dict[int, float]:
        """What exchanges used, above idle where that is known, by id. Reads the store: not for the loop."""
        found = self._shelf.joules() if self._shelf is not None else {}
        parts, idle_w = self._book.parts, self._idle_w
        found.update(
            (key, KeptEnergy(tally, parts, idle_w).joules) for key, tally in list(self._exchanges.items())
        )
        return found

    @property
    def basis(self) -> str:
        """What all of it rests on, in a sentence."""
        return self._basis()

    def desk(self) -> DeskEnergy | None:
        """The night so far; None where nothing reports its power."""
        book = self._book
        if not book.night.measured_ns:
            return None
        energy = book.night.energy(self._idle_w)
        return DeskEnergy(
            since_ns=book.since_ns,
            energy=energy,
            bill=self._bill(energy),
            idle_w=self._idle_w,
            parts=book.parts,
            basis=self._basis(),
        )

    def save(self) -> None:
        """Adds what still waits and writes everything down."""
        while self._waiting:
            self._add(self._waiting.popleft())
        self._put_away(row.id for row in self._rows() if row.ended_ns is not None)
        self._write()

    def _write(self) -> None:
        """A full disk costs the numbers since the last time, nothing else."""
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
        return basis(self._book.parts, self._idle_w)

    def _why_none(self) -> str:
        return NOT_MEASURED if self._book.parts else self._basis()

    def _bill(self, energy: Energy) -> Bill:
        section = self._section()
        return bill(energy, section.price_per_kwh, section.currency)

    def _add_items(self, sample: Sample, run_id: str, share: Share, idle_w: float | None) -> None:
        spans = {f"{run_id}{_ITEM_MARK}{item}": span for item, span in self._flights.get(run_id, {}).items()}
        if spans:
            add_items(sample, share, spans, self._book.items, ITEMS_KEPT, idle_w)

    def _add_night(self, sample: Sample, idle_w: float | None) -> None:
        noon_ns = last_noon_ns(sample.at_ns)
        if self._book.since_ns < noon_ns:
            self._book.since_ns, self._book.night = noon_ns, Tally()
        tallies = {"": self._book.night}
        add_sample(sample, {"": Span(noon_ns)}, tallies, 1, idle_w)

    def _forget_flights(self, before_ns: int, active: set[str]) -> None:
        for run_id, spans in list(self._flights.items()):
            for item, span in list(spans.items()):
                if span.end_ns is not None and span.end_ns < before_ns:
                    del spans[item]
            if not spans and run_id not in active:
                del self._flights[run_id]


def keep_energy(service: Service) -> EnergyKeeper:
    """The keeper of an engine, which writes beside its store, and what exchanges used into it."""
    path = service.desk.state / "energy.json"
    runs, rows = service.supervisor.runs, service.traffic.rows
    return EnergyKeeper(path, runs, rows, lambda: service.desk.config.energy, service.store, SETTLE_NS)


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
