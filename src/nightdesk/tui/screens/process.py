"""One process in full: what it is and waits for, what it has open, what is below it, and its last hour as a chart."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.foreign import safe_line
from nightdesk.core.processes.account import LINES_MOST, facts_of, lists_of
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError
from nightdesk.model.inspected import ProcessDetail, ProcessHistory
from nightdesk.model.process import TreeAction
from nightdesk.tui.asks import Ask, ProcessesRequested
from nightdesk.tui.panes.processes_view import age_of
from nightdesk.tui.screens.job import moment
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.chart import MINUTE_NS, Chart, ChartView, Series, nice_top
from nightdesk.tui.widgets.facts import Facts, Row, fact_rows, lines_of
from nightdesk.tui.widgets.sheet import Sheet

AGAIN_NS = 3 * 10**9
"""Between two questions about the same process."""
SPAN_MINUTES = (10, 30, 60)
NAMES = 8
LIST_HANG = 6


def chart_of(history: ProcessHistory, now_ns: int) -> ChartView | None:
    """CPU, and the memory on accelerators where it is known, else that of the machine. None without two points."""
    if len(history.at_ns) < 2:
        return None
    began = now_ns - history.at_ns[0]
    minutes = next((m for m in SPAN_MINUTES if began <= m * MINUTE_NS), SPAN_MINUTES[-1])
    cpu = tuple((at, _hundred(value)) for at, value in zip(history.at_ns, history.cpu_ratio, strict=True))
    on_device = any(value is not None for value in history.device_bytes)
    held = history.device_bytes if on_device else history.rss_bytes
    unit, size = (" GB", 1e9) if max((value or 0 for value in held), default=0) >= 1e9 else (" MB", 1e6)
    memory = tuple(
        (at, None if value is None else value / size) for at, value in zip(history.at_ns, held, strict=True)
    )
    name = "memory on accelerators" if on_device else "memory"
    series = (
        Series("cpu", " %", "primary", nice_top(max(100.0, _most(cpu))), cpu),
        Series(name, unit, "warn", nice_top(_most(memory) * 1.1 or 1.0), memory),
    )
    return ChartView(series, now_ns, minutes * MINUTE_NS)


def _most(points: tuple[tuple[int, float | None], ...]) -> float:
    return max((value for _, value in points if value is not None), default=0.0)


def _hundred(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio


class ProcessScreen(Sheet[None]):
    """Facts and lists above, the chart below; asked again while it is shown."""

    TALL = True
    DEFAULT_CSS = """
    ProcessScreen #facts-box { height: 1fr; }
    ProcessScreen #process-chart-note { height: auto; }
    ProcessScreen Chart { height: 30%; min-height: 6; max-height: 14; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "stacks", "stacks", id="process.stacks", tooltip="Show the stacks of its threads"),
        Binding("p", "pause", "pause", id="process.pause", tooltip="Pause or resume the tree"),
        Binding("x", "signal('stop')", "stop", id="process.stop", tooltip="Ask the tree to end, then kill"),
        Binding("K", "signal('kill')", "kill", id="process.kill", tooltip="Kill the tree at once"),
        Binding("j", "scroll(1)", "Down", show=False, id="process.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="process.up"),
    ]

    def __init__(self, key: ProcessKey) -> None:
        super().__init__()
        self.key = key
        self.detail: ProcessDetail | None = None
        self._state = ""
        """As of the newest change of the process table: younger than the detail."""
        self._asked_ns = 0

    def compose_sheet(self) -> ComposeResult:
        """Facts, chart."""
        with VerticalScroll(id="facts-box"):
            yield Static(id="facts", markup=False)
        yield Chart(id="process-chart")
        yield Static(id="process-chart-note", markup=False)

    def on_mount(self) -> None:
        """Ask."""
        self.show_title(line("Process ", Cell(str(self.key.pid), "strong")))
        self.query_one("#facts", Static).update(line(Cell(f"{self.glyphs.wait} Looking at it …", "muted")))
        self.query_one("#facts-box").focus()
        self._ask()

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Ask again now and then, and when it stands still or goes on."""
        row = desk.processes.get(self.key) if desk is not None else None
        before, self._state = self._state, row.state if row is not None else ""
        turned = "T" in (before, self._state) and before != self._state
        if self.detail is not None and (turned or now_ns - self._asked_ns >= AGAIN_NS):
            self._asked_ns = now_ns
            self._ask()

    def _ask(self) -> None:
        self.post_message(Ask(lambda engine: engine.detail(self.key), self._show))

    def _show(self, answer: ProcessDetail | NightdeskError) -> None:
        if not self.is_mounted:
            return
        if isinstance(answer, NightdeskError):
            self._show_fault(answer)
            return
        self.detail = answer
        self._asked_ns = max(self._asked_ns, answer.at_ns)
        row = answer.row
        self.show_title(line("Process ", Cell(str(row.key.pid), "strong"), " ", row.name))
        self.query_one("#facts", Static).update(Facts(shown(answer)))
        view = chart_of(answer.history, answer.at_ns)
        chart, note = self.query_one(Chart), self.query_one("#process-chart-note", Static)
        chart.display, note.display = view is not None, view is None
        chart.show(view)
        why = answer.history.note or "Its history has only just begun; the chart comes in some seconds."
        note.update(line(Cell(why, "faint")))
        self.refresh_bindings()

    def _show_fault(self, fault: NightdeskError) -> None:
        """It is gone: what was known of it stays, and says so."""
        words = safe_line(f"{self.glyphs.fail} {fault.message} {fault.hint}".rstrip())
        known = [Row(()), *shown(self.detail)] if self.detail is not None else []
        self.query_one("#facts", Static).update(Facts([Row(((words, "bad"),)), *known]))
        self.detail = None
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to do to a process that is gone."""
        if action in ("pause", "signal", "stacks"):
            return self.detail is not None
        return super().check_action(action, parameters)

    def action_stacks(self) -> None:
        """Where its threads stand."""
        self.post_message(ProcessesRequested("stacks", (self.key,)))

    def action_pause(self) -> None:
        """Pause the tree, or resume a paused one."""
        if self.detail is not None:
            state = self._state or self.detail.row.state
            self.action_signal("resume" if state == "T" else "pause")

    def action_signal(self, action: TreeAction) -> None:
        """Ask for a signal to the tree."""
        self.post_message(ProcessesRequested("signal", (self.key,), action))

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one("#facts-box", VerticalScroll).scroll_relative(y=by, animate=False)


def shown(detail: ProcessDetail) -> list[Row]:
    """Facts, then lists; what is long goes on under its own beginning."""
    row = detail.row
    began = f"{moment(row.key.started_ns)}, {age_of(row, detail.at_ns)} ago"
    rows = fact_rows(((fact.name, Cell(fact.words, fact.mood)) for fact in facts_of(detail, began)), NAMES)
    for title, found in lists_of(detail):
        lines = [Cell(each.front, "muted", ((each.text, ""), (each.rest, "faint"))) for each in found]
        rows += [Row(()), Row(((title, "muted"),))]
        rows += (Row(pieces, LIST_HANG) for each in lines[:LINES_MOST] for pieces in lines_of(each))
        if len(lines) > LINES_MOST:
            rows.append(Row(((f"… and {len(lines) - LINES_MOST} more", "faint"),)))
    return rows
