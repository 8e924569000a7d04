"""The energy of runs, items and exchanges as names and values of a sheet."""

from __future__ import annotations

from nightdesk.model.energy import Bill, Energy, ExchangeEnergy, RunEnergy
from nightdesk.model.units import (
    UNKNOWN,
    format_duration,
    format_joules,
    format_percent,
    format_watt_hours,
    format_watts,
)
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell

Fact = tuple[str, Cell]


def no_energy(why: str) -> list[Fact]:
    """Why nothing is known."""
    return [("energy", Cell(UNKNOWN, "faint", ((f"  {why}", "muted"),)))]


def used_words(energy: Energy, bill: Bill | None, tokens_per_joule: float | None, glyphs: Glyphs) -> str:
    """``1.2 kJ above idle · 2.0 kJ in all · 0.56 Wh · 0.4 tokens/J``."""
    used = f"{format_joules(energy.gross_j)} in all"
    words = [used] if energy.energy_j is None else [f"{format_joules(energy.energy_j)} above idle", used]
    words.append(format_watt_hours(energy.gross_j / 3600))
    words += [] if bill is None or bill.price is None else [f"{bill.price:.3g} {bill.currency}"]
    words += [] if tokens_per_joule is None else [f"{tokens_per_joule:.2g} tokens/J"]
    return f"  {glyphs.dot}  ".join(words)


def measured_words(energy: Energy) -> str:
    """For how long it was measured, and how much of that others ran as well."""
    words = f"measured for {format_duration(energy.measured_ns)}"
    return f"{words}, {format_duration(energy.shared_ns)} of it shared" if energy.shared_ns else words


def power_facts(energy: Energy) -> list[Fact]:
    """Mean and peak of power and GPU while it ran."""
    facts = []
    if energy.mean_w is not None:
        words = f"mean {format_watts(energy.mean_w)}, peak {format_watts(energy.peak_w)}"
        facts.append(("power", Cell(words, "", ((f"  {measured_words(energy)}", "muted"),))))
    if energy.gpu_mean_ratio is not None:
        mean, peak = format_percent(energy.gpu_mean_ratio), format_percent(energy.gpu_peak_ratio)
        facts.append(("GPU", Cell(f"mean {mean}, peak {peak} active")))
    return facts


def energy_facts(told: RunEnergy, glyphs: Glyphs) -> list[Fact]:
    """What the run used above idle and in all, what it costs, its power and its GPU, and what all that rests on."""
    used = used_words(told.energy, told.bill, told.tokens_per_joule, glyphs)
    return [("energy", Cell(used)), *power_facts(told.energy), ("", Cell(told.basis, "muted"))]


def item_energy_facts(energy: Energy | None, glyphs: Glyphs) -> list[Fact]:
    """What all tries of an item used; nothing where nothing was measured."""
    if energy is None:
        return []
    return [("energy", Cell(used_words(energy, None, None, glyphs))), *power_facts(energy)]


def exchange_energy_facts(told: ExchangeEnergy, glyphs: Glyphs) -> list[tuple[str, str, str]]:
    """Name, value and remark of what an exchange used."""
    energy = told.energy
    facts = [("energy", used_words(energy, told.bill, told.tokens_per_joule, glyphs), "")]
    if energy.mean_w is not None:
        words = f"mean {format_watts(energy.mean_w)}, peak {format_watts(energy.peak_w)}"
        facts.append(("power", words, measured_words(energy)))
    return [*facts, ("", "", told.basis)]
