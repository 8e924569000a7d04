"""Pane 2: GPU, Neural Engine, processor and memory, now and over the last ten minutes.

Selected from samples. Empty only before the first sample; a machine without accelerators says why it shows none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.foreign import safe_line
from nightdesk.core.sensors.alarms import desk_alarms
from nightdesk.model.alarm import Alarm
from nightdesk.model.energy import EnergyReport
from nightdesk.model.errors import NightdeskError
from nightdesk.model.sample import Sample
from nightdesk.model.units import NS, format_duration
from nightdesk.tui.asks import Ask
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.accelerators_chart import chart_of
from nightdesk.tui.panes.accelerators_history import (
    REACHES,
    USUAL,
    ChartChoice,
    busy_spans,
    energy_words,
    joined,
    run_marks,
)
from nightdesk.tui.panes.accelerators_row import (
    COLUMNS,
    detail_of,
    model_rows,
    rows_of,
)
from nightdesk.tui.panes.pane import LIVE, LOADING, Heading, Look, Pane
from nightdesk.tui.text import Cell, Tone, line
from nightdesk.tui.widgets.chart import LEAST_HEIGHT, REDRAW_NS, Chart, ChartView, plot_area
from nightdesk.tui.widgets.grid import Grid, Row

STALE_INTERVALS = 3
LEAST_AGE_NS = 3 * NS
ENERGY_NS = 10 * NS
RECORDED_NS = 60 * NS
"""Between two questions to the engine for what the chart shows beyond ten minutes."""
TITLES_FROM = 11
"""Rows from which the table has titles."""
LOST = 8
"""Cells of a line that wrapping may leave empty."""
REST = " … (enter: all)"
ROOMY = 20
"""Rows of the pane from which each kind of cores has a line of its own."""


@dataclass(frozen=True, slots=True)
class AcceleratorsView:
    """What the pane shows. ``stale``: several samples are overdue."""

    rows: tuple[Row, ...]
    no_device: str
    """Why no accelerator is shown; empty where there is one."""
    detail: str
    source: str
    age_ns: int
    stale: bool
    chart: ChartView | None
    alarms: tuple[Alarm, ...] = ()
    key: str = ""
    """Of the line that the chart is of."""


class Drawn(NamedTuple):
    """A chart, of which line it is, and what the user had chosen."""

    key: str
    choice: ChartChoice
    chart: ChartView


def select(
    desk: Mirror,
    now_ns: int,
    glyphs: Glyphs,
    selected: object = None,
    choice: ChartChoice = USUAL,
    with_tiers: bool = False,
    drawn: Drawn | None = None,
) -> AcceleratorsView:
    """The newest sample with its history; ``selected`` is the key of the line under the cursor.

    ``drawn`` is the chart of before: one of the same line that is young enough stays as it is.
    """
    samples = tuple(desk.samples)
    if not samples:
        return AcceleratorsView((), "", "", "", 0, False, None)
    now = samples[-1]
    age = max(0, now_ns - now.at_ns)
    rows = (*rows_of(samples, glyphs, with_tiers), *model_rows(desk.servers, glyphs))
    alarms = desk_alarms(samples, now_ns, desk.servers, desk.exchanges.values())
    names = {row.key.pid: row.name for row in desk.processes.values()} if now.devices else {}
    why = "" if now.devices else now.unknown.get("devices", "")
    key = selected if isinstance(selected, str) else str(rows[0].key)
    return AcceleratorsView(
        rows=rows,
        no_device="" if now.devices else no_device(why),
        detail=". ".join(part for part in (why.rstrip("."), detail_of(now, key, names)) if part),
        source=now.source,
        age_ns=age // NS * NS,
        stale=age > max(LEAST_AGE_NS, STALE_INTERVALS * now.elapsed_ns),
        chart=_chart(desk, choice, samples, key, drawn),
        alarms=alarms,
        key=key,
    )


def _chart(
    desk: Mirror, choice: ChartChoice, samples: tuple[Sample, ...], key: str, drawn: Drawn | None
) -> ChartView:
    now_ns = samples[-1].at_ns
    if drawn is not None and drawn[:2] == (key, choice) and 0 <= now_ns - drawn.chart.end_ns < REDRAW_NS:
        return drawn.chart
    return _marked(chart_of(joined(choice, samples), key, choice.pair), desk, choice, now_ns)


def _marked(chart: ChartView, desk: Mirror, choice: ChartChoice, end_ns: int) -> ChartView:
    span_ns = choice.reach.span_ns
    start_ns = end_ns - span_ns
    rows = [row for row in desk.exchanges.values() if (row.ended_ns or end_ns) >= start_ns]
    return chart._replace(
        end_ns=end_ns,
        span_ns=span_ns,
        step_ns=choice.reach.resolution_s * NS,
        marks=run_marks(run for run in desk.runs.values() if (run.ended_ns or end_ns) >= start_ns),
        busy=busy_spans(rows, end_ns, span_ns // 200),
        cursor_ns=choice.cursor_ns,
    )


def fitted(words: str, width: int, lines: int) -> str:
    """``words`` if they fit into so many lines, else as much of them as surely does, and where the rest is."""
    if len(words) <= width or len(words) <= (width - LOST) * lines:
        return words
    kept = words[: max(0, (width - LOST) * lines - len(REST))].rpartition(" ")[0]
    return f"{kept}{REST}"


def alarm_cell(alarms: tuple[Alarm, ...], glyphs: Glyphs) -> Cell:
    """The most urgent alarm, and how many more there are."""
    if not alarms:
        return Cell("")
    more = f"  +{len(alarms) - 1} more" if len(alarms) > 1 else ""
    first = alarms[0]
    return Cell(
        safe_line(f"{glyphs.warn} {first.words}{more}", 200),
        "bad",
        ((f"   {safe_line(first.advice)}", "muted"),),
    )


def no_device(why: str) -> str:
    """The first sentence of ``why``, and where to read on."""
    first, _, more = why.partition(". ")
    said = f"{first.rstrip('.') or 'No accelerator was found'}."
    return f"{said} nightdesk doctor has the details." if more else said


class AcceleratorsPane(Pane[AcceleratorsView]):
    """Every device in a line, then processor and memory, then the chart."""

    NUMBER = 2
    TITLE = "Accelerators"
    PARTS = ("samples",)
    SOURCE = "sensors"
    TICKS = True
    FILTERS = False
    BINDING_GROUP_TITLE = "Accelerators"
    HELP = """
## Accelerators

**active** is the share of time in which the device did anything, not how much of it was busy; the line below the
table says how much of its capacity that was, where the system tells. The Neural Engine has a counter for its power
only: watts come first, its percentage is an **estimate**.

`–` is unknown, never zero. Put the cursor on a line to read why; `enter` shows all of it: each value with its mean,
its peak and what it is (measured, derived, an estimate), and the processes that hold memory there.

The chart shows two values of the line under the cursor; `v` goes on to the next two: memory, heat, clock, capacity,
fan. Where the line is broken, nothing was measured. Over an hour and more the line is the mean, and the band around it
reaches from the least to the greatest value. **+** and **-** change how far back it looks (10 minutes, an hour, the
night); the arrows move a cursor that tells the values of a moment. Below the plot stand the runs, and a low bar while
replies were on their way.

Alarms end by themselves when their cause does. The line of energy counts what is measured, from noon to noon; a run's
watt-hours are those above what the machine uses idle, and each moment is shared equally among what ran.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus", "reach(-1)", "closer", id="accelerators.closer", tooltip="Chart: shorter time span"),
        Binding("minus", "reach(1)", "wider", id="accelerators.wider", tooltip="Chart: longer time span"),
        Binding("v", "values", "values", id="accelerators.values", tooltip="Chart: the next two values of the line"),
        Binding("left", "cursor(-1)", "Before", show=False, id="accelerators.before", tooltip="Values a step earlier"),
        Binding("right", "cursor(1)", "After", show=False, id="accelerators.after", tooltip="Values one step later"),
        Binding("escape", "no_cursor", "No moment", show=False, id="accelerators.now", tooltip="Current values again"),
    ]  # fmt: skip
    DEFAULT_CSS = """
    AcceleratorsPane {
        & Grid { height: auto; }
        & #no-device { height: auto; max-height: 1; padding: 0 1; color: $text-muted; }
        & #no-device.-none { display: none; }
        & .-line {
            height: 1; padding: 0 1; color: $text-muted; display: none;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        & .-line.-some { display: block; }
        & Chart { padding: 0 1; }
        & #detail { height: auto; max-height: 1; padding: 0 1; color: $text-muted; display: none; }
        & #detail.-roomy { max-height: 3; }
        &:focus-within #detail.-some { display: block; }
        &.-old Grid { opacity: 60%; }
    }
    """

    def compose_body(self) -> ComposeResult:
        """The sentence, the table, the chart, the detail."""
        yield Vertical(
            Static(id="alarms", classes="-line", markup=False),
            Static(id="no-device", classes="-none", markup=False),
            Grid(COLUMNS, sign=self.glyphs.cursor, id="accelerators-grid"),
            Chart(id="chart"),
            Static(id="energy", classes="-line", markup=False),
            Static(id="detail", markup=False),
        )

    def on_mount(self) -> None:
        """The chart begins with the last ten minutes."""
        super().on_mount()
        self.choice = USUAL
        self._recorded_ns = self._energy_ns = 0
        self._energy = ""
        self._charted: Drawn | None = None

    def select(self, desk: Mirror, now_ns: int) -> AcceleratorsView:
        """The view for the line under the cursor."""
        roomy = self.size.height >= ROOMY
        key, before = self.query_one(Grid).cursor_key, self._charted
        view = select(desk, now_ns, self.glyphs, key, self.choice, roomy, before)
        if view.chart is not None and (before is None or view.chart is not before.chart):
            self._charted = Drawn(view.key, self.choice, view.chart)
        return view

    def look(self, view: AcceleratorsView) -> Look:
        """Loading before the first sample; off when the sensors are."""
        if view.rows:
            return LIVE
        source = self.source
        if source is not None and source.state == "off":
            hint = source.message or 'Set source = "auto" under [sensors] in nightdesk.toml.'
            return Look("empty", "The sensors are off.", hint)
        if source is not None and source.state == "failed":
            return Look("empty", source.message or "")
        return Look("loading", "Waiting for the first sample.") if source is not None else LOADING

    def heading(self, view: AcceleratorsView) -> Heading:
        """Source and age of what is shown."""
        if not view.source:
            return Heading()
        age = f"{format_duration(view.age_ns)} ago" if view.age_ns >= NS else "now"
        tone: Tone = "warn" if view.stale else "muted"
        sign = f"{self.glyphs.warn} " if view.stale else ""
        return Heading(right=(Cell(f"{sign}{view.source} {self.glyphs.dot} {age}", tone),))

    def draw(self, view: AcceleratorsView, old: AcceleratorsView | None) -> None:
        """Bring all parts up to date."""
        self.set_class(view.stale, "-old")
        if old is None or old.alarms != view.alarms:
            self._show_line("#alarms", alarm_cell(view.alarms, self.glyphs))
        self._ask_again()
        if old is None or old.no_device != view.no_device:
            note = self.query_one("#no-device", Static)
            note.set_class(not view.no_device, "-none")
            note.update(line(Cell(view.no_device, "muted")))
        if old is None or old.detail != view.detail:
            self._show_detail(view)
        grid = self.query_one(Grid)
        grid.show_rows(view.rows)
        self._share_room(view)
        self.query_one(Chart).show(view.chart)

    def _show_line(self, name: str, cell: Cell) -> None:
        shown = self.query_one(name, Static)
        shown.set_class(bool(cell.text), "-some")
        shown.update(line(cell))

    def _ask_again(self) -> None:
        """Asks for what the engine does not send by itself: energy, and samples older than ten minutes."""
        if self.now_ns - self._energy_ns >= ENERGY_NS:
            self._energy_ns = self.now_ns
            self.post_message(Ask(lambda engine: engine.energy(), self._take_energy))
        reach = self.choice.reach
        if reach.resolution_s > 1 and self.now_ns - self._recorded_ns >= RECORDED_NS:
            self._recorded_ns = self.now_ns
            since = self.now_ns - reach.span_ns
            until = self.now_ns
            self.post_message(
                Ask(lambda engine: engine.samples(since, until, reach.resolution_s), self._take_recorded)
            )

    def _take_energy(self, answer: EnergyReport | NightdeskError) -> None:
        if self.is_mounted and not isinstance(answer, NightdeskError):
            self._energy = energy_words(answer, self.glyphs)
            self._show_line("#energy", Cell(safe_line(self._energy), "muted"))
            if self.view is not None:
                self._share_room(self.view)

    def _take_recorded(self, answer: tuple[Sample, ...] | NightdeskError) -> None:
        if self.is_mounted and not isinstance(answer, NightdeskError):
            self.choice = self.choice._replace(recorded=answer)
            self.redraw()

    def action_reach(self, by: int) -> None:
        """Look less or more far back."""
        place = min(len(REACHES) - 1, max(0, REACHES.index(self.choice.reach) + by))
        if REACHES[place] != self.choice.reach:
            self.choice = ChartChoice(REACHES[place], pair=self.choice.pair)
            self._recorded_ns = 0
            self.redraw()

    def action_cursor(self, by: int) -> None:
        """Move the cursor of the chart by a column; the first press puts it at the newest moment."""
        view = self.view.chart if self.view is not None else None
        if view is None:
            return
        step = view.span_ns // max(1, plot_area(view, self.query_one(Chart).size.width)[1])
        before = self.choice.cursor_ns
        at = view.end_ns if before is None else before + by * step
        self.choice = self.choice._replace(cursor_ns=min(view.end_ns, max(view.end_ns - view.span_ns, at)))
        self.redraw()

    def action_values(self) -> None:
        """Draw other values of the line: memory and heat, clock and capacity, and those of now again."""
        self.choice = self.choice._replace(pair=self.choice.pair + 1)
        self.redraw()

    def show_moment(self, at_ns: int) -> bool:
        """Put the cursor of the chart at a moment, as near as can be; whether the chart reaches back so far."""
        age_ns = self.now_ns - at_ns
        reach = next((reach for reach in REACHES if age_ns < reach.span_ns), None)
        if reach is None:
            return False
        self.choice = ChartChoice(reach, cursor_ns=at_ns, pair=self.choice.pair)
        self._recorded_ns = 0
        self.redraw()
        return True

    def action_no_cursor(self) -> None:
        """Tell no single moment any more."""
        if self.choice.cursor_ns is not None:
            self.choice = self.choice._replace(cursor_ns=None)
            self.redraw()

    def _show_detail(self, view: AcceleratorsView) -> None:
        detail = self.query_one("#detail", Static)
        room = self.size.height - 2
        detail.set_class(bool(view.detail) and room > len(view.rows), "-some")
        roomy = room >= TITLES_FROM + 3
        detail.set_class(roomy, "-roomy")
        detail.update(line(Cell(fitted(view.detail, self.size.width - 4, 3 if roomy else 1), "muted")))

    def _share_room(self, view: AcceleratorsView) -> None:
        """The table takes what it needs; the chart gets the rest, if that is enough for one."""
        grid = self.query_one(Grid)
        room = self.size.height - 2
        titles = room >= TITLES_FROM
        if grid.header != titles:
            grid.header = titles
            grid.show_columns(COLUMNS)
        wanted = len(view.rows) + titles
        room -= bool(view.alarms)
        energy = self.query_one("#energy", Static)
        energy.set_class(bool(self._energy) and room - wanted > LEAST_HEIGHT + 2, "-some")
        room -= energy.has_class("-some")
        grid.virtual_size = Size(0, wanted)
        grid.styles.height = min(wanted, max(2, room))
        self.query_one(Chart).display = room - wanted >= LEAST_HEIGHT

    def on_resize(self) -> None:
        """The room is shared anew."""
        if self.view is not None and self.view.rows:
            self._show_detail(self.view)
            self._share_room(self.view)

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        """All that is known of the line."""
        from nightdesk.tui.screens.accelerator import AcceleratorScreen

        self.app.push_screen(AcceleratorScreen(str(event.key)))

    @on(Grid.Moved)
    def _moved(self) -> None:
        """Detail and chart follow the cursor."""
        self.redraw()
