"""Energy of runs, items, exchanges and the night. Joules; a watt-hour is 3600 of them."""

from __future__ import annotations

from nightdesk.model.base import Noun


class Energy(Noun, frozen=True, kw_only=True):
    """What was measured while something ran. Where several ran at once, each moment is shared out equally."""

    gross_j: float
    """Its share of everything that the measured parts of the machine used."""
    energy_j: float | None = None
    """The same without what the machine uses when nothing runs; absent while that is not known."""
    measured_ns: int
    """So long its power was measured; the rest of its time is missing in all numbers here."""
    shared_ns: int = 0
    """Part of that in which others ran as well."""
    mean_w: float | None = None
    """Of the whole machine, as far as it is measured, while this ran."""
    peak_w: float | None = None
    gpu_mean_ratio: float | None = None
    gpu_peak_ratio: float | None = None


class Bill(Noun, frozen=True, kw_only=True):
    """Energy as it is paid for."""

    watt_hours: float
    price: float | None = None
    """Only with ``price_per_kwh`` in the configuration."""
    currency: str = ""


class ItemEnergy(Noun, frozen=True, kw_only=True):
    """The energy of one item of a run."""

    item: str
    energy: Energy


class RunEnergy(Noun, frozen=True, kw_only=True):
    """The energy of a run, its items, and what it gave for it."""

    run: str
    energy: Energy
    bill: Bill
    items: tuple[ItemEnergy, ...] = ()
    reply_tokens: int | None = None
    """Tokens of the replies that its exchanges got, as the servers counted them."""
    tokens_per_joule: float | None = None
    basis: str
    """What was measured and what was subtracted, in a sentence."""


class ExchangeEnergy(Noun, frozen=True, kw_only=True):
    """The energy of one exchange."""

    exchange: int
    energy: Energy
    bill: Bill
    tokens_per_joule: float | None = None
    basis: str


class EnergyReport(Noun, frozen=True, kw_only=True):
    """The night, and the runs that are in work or ended last, without their items."""

    desk: DeskEnergy | None = None
    runs: tuple[RunEnergy, ...] = ()


class DeskEnergy(Noun, frozen=True, kw_only=True):
    """The energy of the night: everything since noon."""

    since_ns: int
    energy: Energy
    bill: Bill
    idle_w: float | None = None
    """What the machine uses when nothing of the desk runs."""
    parts: tuple[str, ...] = ()
    """Parts of the machine whose power is measured."""
    basis: str
