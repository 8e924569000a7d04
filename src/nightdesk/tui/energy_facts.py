"""The energy of a run as names and values of a sheet."""

from __future__ import annotations

from nightdesk.model.energy import RunEnergy
from nightdesk.model.units import UNKNOWN, format_joules, format_percent, format_watt_hours, format_watts
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell

Fact = tuple[str, Cell]


def no_energy(why: str) -> list[Fact]:
    """Why nothing is known."""
    return [("energy", Cell(UNKNOWN, "faint", ((f"  {why}", "muted"),)))]


def energy_facts(told: RunEnergy, glyphs: Glyphs) -> list[Fact]:
    """What the run used above idle and in all, what it costs, its power and its GPU, and what all that rests on."""
    energy, bill, dot = told.energy, told.bill, f"  {glyphs.dot}  "
    net = energy.energy_j
    used = f"{format_joules(energy.gross_j)} in all"
    words = [used] if net is None else [f"{format_joules(net)} above idle", used]
    words.append(format_watt_hours(bill.watt_hours))
    words += [] if bill.price is None else [f"{bill.price:.3g} {bill.currency}"]
    words += [] if told.tokens_per_joule is None else [f"{told.tokens_per_joule:.2g} tokens/J"]
    facts = [("energy", Cell(dot.join(words)))]
    if energy.mean_w is not None:
        facts.append(
            ("power", Cell(f"mean {format_watts(energy.mean_w)}, peak {format_watts(energy.peak_w)}"))
        )
    if energy.gpu_mean_ratio is not None:
        mean, peak = format_percent(energy.gpu_mean_ratio), format_percent(energy.gpu_peak_ratio)
        facts.append(("GPU", Cell(f"mean {mean}, peak {peak} active")))
    return [*facts, ("", Cell(told.basis, "muted"))]
