"""The graph of the jobs: a box for each, lines for what it needs, and one box that the arrows walk from."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from nightdesk.core.foreign import safe_line
from nightdesk.core.jobs.graph import JobGraph
from nightdesk.tui.glyphs import ASCII, UNICODE, Glyphs
from nightdesk.tui.text import TONE_CLASSES, Cell, Tone, shortened, tone_style
from nightdesk.tui.widgets.graph_plan import (
    ACROSS,
    BOX_HEIGHT,
    UPRIGHT,
    Box,
    GraphPlan,
    Joint,
    plan_graph,
    step,
)

LINES = " ───│┘└┴│┐┌┬│┤├┼"
"""Directions of a joint (left 1, right 2, up 4, down 8) → what is drawn."""
FRAME, THICK_FRAME = "┌─┐│└┘", "┏━┓┃┗┛"
AROUND = 5
"""Cells beside a box that come into view with it: where its lines begin."""
Paint = tuple[str, Tone]


class BoxText(NamedTuple):
    """What a box says: sign, name and count in its upper line, the rest in the lower one."""

    sign: Cell
    name: str
    done: str
    note: Cell


class GraphView(NamedTuple):
    """What the widget shows."""

    graph: JobGraph
    texts: dict[str, BoxText]


class JobGraphView(ScrollView, can_focus=True):
    """Draws a graph and walks it. Posts :class:`Moved` and :class:`Opened`."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)
    DEFAULT_CSS = """
    JobGraphView {
        height: 1fr; overflow: auto auto; scrollbar-size: 1 1; background: transparent;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "walk('left')", "Job that this one needs", show=False, id="graph.left"),
        Binding("right,l", "walk('right')", "Job that needs this one", show=False, id="graph.right"),
        Binding("up,k", "walk('up')", "Job above", show=False, id="graph.up"),
        Binding("down,j", "walk('down')", "Job below", show=False, id="graph.down"),
        Binding(
            "enter", "open", "open", key_display="⏎", id="graph.open", tooltip="Show the job and its runs"
        ),
    ]

    class Moved(Message):
        """Another job is selected."""

    class Opened(Message):
        """The user wants to see a job."""

        def __init__(self, job: str) -> None:
            super().__init__()
            self.job = job

    def __init__(self, glyphs: Glyphs = UNICODE, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.glyphs = glyphs
        self.view: GraphView | None = None
        self.selected = ""
        self._plan = GraphPlan()
        self._rows: list[list[Paint]] = []

    # What is shown

    def show(self, view: GraphView) -> None:
        """Show a graph. The selection stays on its job."""
        if view == self.view:
            return
        shape_changed = self.view is None or view.graph != self.view.graph
        self.view = view
        if self.selected not in view.texts:
            self.selected = next((place.job for layer in view.graph.layers for place in layer), "")
            self.post_message(self.Moved())
        if shape_changed:
            self._lay_out()
        else:
            self._paint()

    def select(self, job: str) -> None:
        """Select a job and bring it into view."""
        if self.view is None or job not in self.view.texts or job == self.selected:
            return
        self.selected = job
        self._paint()
        self._reveal()
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        """Another size is another arrangement."""
        self._lay_out()

    def _lay_out(self) -> None:
        if self.view is None or not self.size.width:
            return
        self._plan = plan_graph(self.view.graph, self.size.width, self.size.height)
        self.virtual_size = Size(self._plan.width, self._plan.height)
        self._paint()
        self._reveal()

    def _reveal(self) -> None:
        box = self._plan.boxes.get(self.selected)
        if box is not None:
            left = max(0, box.x - AROUND)
            right = min(self._plan.width, box.x + box.width + AROUND)
            region = Region(left, box.y, right - left, BOX_HEIGHT)
            self.scroll_to_region(region, animate=False, force=True)

    # Keys and mouse

    def action_walk(self, way: str) -> None:
        """Go to the job that lies there."""
        if self.view is not None and self.selected in self._plan.boxes:
            self.select(step(self.view.graph, self._plan, self.selected, way))

    def action_open(self) -> None:
        """Show the selected job."""
        if self.selected:
            self.post_message(self.Opened(self.selected))

    def on_click(self, event: events.Click) -> None:
        """Select a box; twice opens it."""
        x, y = event.x + self.scroll_offset.x, event.y + self.scroll_offset.y
        for job, box in self._plan.boxes.items():
            if box.x <= x < box.x + box.width and box.y <= y < box.y + BOX_HEIGHT:
                self.select(job)
                if event.chain > 1:
                    self.action_open()

    # Drawing

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width, back = self.size.width, self.rich_style
        at = y + self.scroll_offset.y
        if at >= len(self._rows):
            return Strip.blank(width, back)
        segments = [Segment(text, back + tone_style(self, tone)) for text, tone in self._rows[at] if text]
        left = self.scroll_offset.x
        return Strip(segments).crop_extend(left, left + width, back)

    def _paint(self) -> None:
        plan = self._plan
        rows: list[list[Paint]] = [[(" ", "")] * plan.width for _ in range(plan.height)]
        for (x, y), joint in plan.joints.items():
            rows[y][min(x, plan.width - 1)] = self._line_cell(joint)
        for x, y in plan.heads:
            rows[y][x] = self.glyphs.arrow, self._line_cell(plan.joints[x, y])[1]
        if self.view is not None:
            for job, box in plan.boxes.items():
                self._paint_box(rows, box, self.view.texts[job], job == self.selected)
        self._rows = [_joined(row) for row in rows]
        self.refresh()

    def _line_cell(self, joint: Joint) -> Paint:
        near = any(self.selected in (line.job, line.target) for line in joint.lines)
        tone: Tone = "accent" if near else "muted"
        sign = LINES[joint.directions]
        if all(line.by_items for line in joint.lines):
            across, upright = (".", ":") if self.glyphs is ASCII else ("┄", "┆")
            if not joint.directions & UPRIGHT:
                sign = across
            elif not joint.directions & ACROSS:
                sign = upright
        return sign, tone

    def _paint_box(self, rows: list[list[Paint]], box: Box, text: BoxText, selected: bool) -> None:
        tone: Tone = "accent" if selected else "border"
        frame = THICK_FRAME if selected else FRAME
        inner = box.width - 2
        put(rows[box.y], box.x, Cell(frame[0] + frame[1] * inner + frame[2], tone))
        put(rows[box.y + 3], box.x, Cell(frame[4] + frame[1] * inner + frame[5], tone))
        room = inner - 4 - cell_len(text.done) - bool(text.done)
        name = shortened(safe_line(text.name), max(4, room), self.glyphs.cut)
        blanks = " " * (inner - 4 - cell_len(name) - cell_len(text.done))
        first = Cell(
            f"{text.sign.text} ", text.sign.tone, ((name, "strong"), (blanks, ""), (f"{text.done}", "muted"))
        )
        for row, cell in ((box.y + 1, first), (box.y + 2, _fitted(text.note, inner - 2, self.glyphs.cut))):
            put(rows[row], box.x, Cell(frame[3] + " ", tone))
            put(rows[row], box.x + 2, Cell(" " * (inner - 2)))
            put(rows[row], box.x + 2, cell)
            put(rows[row], box.x + box.width - 2, Cell(" " + frame[3], tone))


def _fitted(cell: Cell, width: int, cut: str) -> Cell:
    """The cell in at most ``width`` cells; its pieces keep their tones."""
    pieces: list[Paint] = []
    for text, tone in ((cell.text, cell.tone), *cell.more):
        short = shortened(safe_line(text), width, cut)
        pieces.append((short, tone))
        width -= cell_len(short)
        if short != safe_line(text) or width <= 0:
            break
    (text, tone), *more = pieces
    return Cell(text, tone, tuple(more))


def put(row: list[Paint], x: int, cell: Cell) -> None:
    """Write a cell into a row; wide signs take two places, the second of them empty."""
    for text, tone in ((cell.text, cell.tone), *cell.more):
        for sign in text:
            size = cell_len(sign)
            if size == 0 or x + size > len(row):
                continue
            row[x] = sign, tone
            for behind in range(x + 1, x + size):
                row[behind] = "", tone
            x += size


def _joined(row: list[Paint]) -> list[Paint]:
    """Neighbours of one tone as one piece."""
    joined: list[Paint] = []
    for text, tone in row:
        if joined and joined[-1][1] == tone:
            joined[-1] = joined[-1][0] + text, tone
        else:
            joined.append((text, tone))
    return joined
