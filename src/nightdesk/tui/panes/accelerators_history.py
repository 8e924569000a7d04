"""What the chart of the accelerators shows beyond the last ten minutes, and what ran meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nightdesk.model.energy import EnergyReport, RunEnergy
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import Run
from nightdesk.model.sample import Sample
from nightdesk.model.units import format_watt_hours, format_watts
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.widgets.chart import MINUTE_NS, Mark

MARKED = 40
"""Runs on the time axis, the newest ones."""


class Reach(NamedTuple):
    """How far back the chart looks, and the seconds between the samples that it then takes."""

    span_ns: int
    resolution_s: int


REACHES = (Reach(10 * MINUTE_NS, 1), Reach(60 * MINUTE_NS, 10), Reach(720 * MINUTE_NS, 60))


class ChartChoice(NamedTuple):
    """What the user chose to see."""

    reach: Reach = REACHES[0]
    cursor_ns: int | None = None
    recorded: tuple[Sample, ...] = ()
    """Samples from the store, for a reach beyond what the viewer holds."""
    pair: int = 0
    """Which two values of the line are drawn."""


USUAL = ChartChoice()


def joined(choice: ChartChoice, live: Sequence[Sample]) -> tuple[Sample, ...]:
    """Recorded and live samples, oldest first. Of live ones all count: the chart draws means of what it can't show."""
    if choice.reach.resolution_s <= 1:
        return tuple(live)
    return (*(sample for sample in choice.recorded if not live or sample.at_ns < live[0].at_ns), *live)


def run_marks(runs: Iterable[Run]) -> tuple[Mark, ...]:
    """The runs on the time axis, oldest first."""
    begun = [run for run in runs if run.started_ns is not None]
    begun.sort(key=lambda run: run.started_ns or 0)
    return tuple(Mark(run.started_ns or 0, run.ended_ns, run.job) for run in begun[-MARKED:])


def busy_spans(rows: Iterable[ExchangeRow], now_ns: int, join_ns: int) -> tuple[tuple[int, int], ...]:
    """When exchanges were on their way; pauses shorter than ``join_ns`` would not be seen."""
    found: list[tuple[int, int]] = []
    for start, end in sorted((row.started_ns, row.ended_ns or now_ns) for row in rows):
        if found and start - found[-1][1] <= join_ns:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def energy_words(report: EnergyReport, glyphs: Glyphs) -> str:
    """The night and the newest run in one line; empty where nothing reports its power."""
    if report.desk is None:
        return ""
    night = report.desk.bill
    words = [f"since noon {format_watt_hours(night.watt_hours)}"]
    if night.price is not None:
        # Little is not nothing: 0.00 would say so.
        price = f"{night.price:.2f}" if night.price >= 0.1 else f"{night.price:.2g}"
        words.append(f"{price} {night.currency}")
    if report.desk.idle_w is not None:
        words.append(f"idle {format_watts(report.desk.idle_w)}")
    parts = [", ".join(words), *(_run_words(run) for run in report.runs[:2])]
    return f"  {glyphs.dot}  ".join(parts)


def _run_words(run: RunEnergy) -> str:
    """``transcribe 31 Wh above idle, mean 28 W, peak 41 W, GPU 71 %``."""
    energy = run.energy
    net = energy.energy_j
    words = [
        format_watt_hours((energy.gross_j if net is None else net) / 3600)
        + ("" if net is None else " above idle")
    ]
    words += [f"mean {format_watts(energy.mean_w)}"] if energy.mean_w is not None else []
    words += [f"peak {format_watts(energy.peak_w)}"] if energy.peak_w is not None else []
    if energy.gpu_mean_ratio is not None:
        words.append(
            f"GPU {energy.gpu_mean_ratio:.0%}, peak {energy.gpu_peak_ratio or 0:.0%}".replace("%", " %")
        )
    if run.tokens_per_joule is not None:
        words.append(f"{run.tokens_per_joule:.2g} tokens/J")
    return f"{run.run.rsplit('-', 3)[0]} {', '.join(words)}"
