"""A line chart of the last minutes, drawn by plotext: up to two series, the first on the left scale.

plotext takes a third of a second to load and some 10 ms to draw: it is loaded beside the screen when a chart first
has something to show, and a chart draws at most every two seconds.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from nightdesk.core.foreign import safe_line
from nightdesk.model.units import UNKNOWN
from nightdesk.tui.glyphs import ASCII, UNICODE, Glyphs
from nightdesk.tui.link import in_thread
from nightdesk.tui.text import TONE_CLASSES, Tone, tone_style

REDRAW_NS = 4 * 10**9
"""In ten minutes on 80 cells a dot stands for so long: what is younger would hardly be seen."""
GAP_FACTOR = 3.5
"""A pause this many times longer than usual is a gap in the line."""
LEAST_WIDTH, LEAST_HEIGHT = 24, 3
MARKS_FROM = 7
"""Lines from which there is room to tell what ran."""
SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
BAND = 3
"""The colour behind which the band is found again; 1 and 2 are the series."""

Pieces: TypeAlias = tuple[tuple[str, Tone], ...]


class Series(NamedTuple):
    """One line. ``points`` are (time in ns, value), oldest first; None is unknown. ``top`` ends the scale."""

    label: str
    unit: str
    tone: Tone
    top: float
    points: tuple[tuple[int, float | None], ...]
    ranges: tuple[tuple[int, float, float], ...] = ()
    """(time, least, greatest value) of points that are means of several."""


class Mark(NamedTuple):
    """Something that went on for a while, on the line below the plot. ``end_ns`` None goes on."""

    start_ns: int
    end_ns: int | None
    label: str


class ChartView(NamedTuple):
    """What a chart shows: one or two series, from ``span_ns`` ago until ``end_ns``."""

    series: tuple[Series, ...]
    end_ns: int
    span_ns: int = 10 * MINUTE_NS
    marks: tuple[Mark, ...] = ()
    """Runs, oldest first: a line of bars with their names."""
    busy: tuple[tuple[int, int], ...] = ()
    """Stretches of time in which a reply was on its way."""
    cursor_ns: int | None = None
    """The moment whose values are told."""
    step_ns: int = 0
    """What lies closer together than this may belong to one recorded mean: it is no gap."""
    end: str = "now"
    """What the end of the plot is."""


class Dot(NamedTuple):
    """A point to draw: minutes (negative: ago), value, and whether a line leads to it."""

    x: float
    y: float
    joined: bool


def nice_top(value: float) -> float:
    """The end of a scale that holds ``value``: 1, 2, 3, 4, 5, 6, 8 or 10 times a power of ten."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    return next(step * size for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * size >= value or step == 10)


def dots(series: Series, view: ChartView, most: int) -> list[Dot]:
    """At most ``most`` dots: means of equal spans of time. A line ends where samples are missing or unknown."""
    start = view.end_ns - view.span_ns
    points = [(at, value) for at, value in series.points if start <= at <= view.end_ns]
    if not points or most < 1:
        return []
    pause = max(_usual_pause(points), view.step_ns) * GAP_FACTOR
    width = max(1, view.span_ns // most)
    found: list[Dot] = []
    cell, held, joined, before = -1, list[tuple[int, float]](), False, None
    for at, value in points:
        broken = value is None or (before is not None and at - before > pause)
        now = (at - start) // width
        if held and (now != cell or broken):
            found.append(_mean(held, view.end_ns, joined))
            held, joined = [], True
        joined = joined and not broken
        cell, before = now, at
        if value is not None:
            held.append((at, value))
    return [*found, _mean(held, view.end_ns, joined)] if held else found


def bands(series: Series, view: ChartView, most: int) -> list[tuple[float, float, float]]:
    """(minutes, least, greatest value) of at most ``most`` equal spans of time, where those two differ."""
    start, width = view.end_ns - view.span_ns, max(1, view.span_ns // max(1, most))
    ends: dict[int, tuple[float, float]] = {}
    values = ((at, value, value) for at, value in series.points if value is not None)
    for at, low, high in (*values, *series.ranges):
        if start <= at <= view.end_ns:
            cell = (at - start) // width
            least, greatest = ends.get(cell, (low, high))
            ends[cell] = min(least, low), max(greatest, high)
    middle = width / 2 - view.span_ns
    return [
        ((cell * width + middle) / MINUTE_NS, low, high)
        for cell, (low, high) in sorted(ends.items())
        if high - low > series.top / 100
    ]


def _usual_pause(points: Sequence[tuple[int, float | None]]) -> float:
    pauses = [after[0] - before[0] for before, after in pairwise(points)]
    from statistics import median  # not needed at the start of a viewer

    return median(pauses) if pauses else MINUTE_NS


def _mean(held: Sequence[tuple[int, float]], end_ns: int, joined: bool) -> Dot:
    at = sum(at - end_ns for at, _ in held) / len(held)
    return Dot(at / MINUTE_NS, sum(value for _, value in held) / len(held), joined)


def load_plotext() -> Any:
    """The plotext module. Raises ImportError or OSError where its compiled part does not fit this machine."""
    return importlib.import_module("plotext")


def draw_chart(plotext: Any, view: ChartView, width: int, height: int) -> list[Pieces]:
    """``height`` lines of ``width`` cells. The second series is dotted: colour alone tells nothing apart."""
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.canvas("default")
    figure.plot_size(width, height)
    figure.axes(False)
    if view.series and view.step_ns > SECOND_NS:
        _draw_band(plotext, view, width)
    for index in range(len(view.series)):
        _draw_series(plotext, view, index, 2 * width)
    minutes = view.span_ns // MINUTE_NS
    steps = 5 if width >= 50 else 2
    places = [-minutes + minutes * step / steps for step in range(steps + 1)]
    labels = [_ago(-place, view.end) for place in places]
    figure.ruler("x", "lower").lim(-minutes, 0).ticks(places, labels)
    text = figure.build().string()
    figure.clear()
    tones: dict[str, Tone] = {f"38;5;{index + 1}": series.tone for index, series in enumerate(view.series)}
    tones[f"38;5;{BAND}"] = "muted"
    return [_pieces(line, tones) for line in text.split("\n")[:height]]


def _ago(minutes: float, end: str) -> str:
    if not minutes:
        return end
    return f"{minutes / 60:g}h" if minutes >= 120 else f"{minutes:g}m"


def _draw_band(plotext: Any, view: ChartView, width: int) -> None:
    """Upright lines from the least to the greatest value of the first series, behind its line."""
    series = view.series[0]
    found = bands(series, view, width)
    if not found:
        return
    xs = [x for x, _, _ in found for _ in range(2)]
    ys = [max(0.0, min(series.top, value)) for _, low, high in found for value in (low, high)]
    signal = plotext.figure.signal(xs, ys, marker=plotext.marker("braille", pixel=BAND), yside="left")
    for at in range(len(xs)):
        signal.line(at, at % 2 == 1)
    plotext.figure.draw(signal)


def _draw_series(plotext: Any, view: ChartView, index: int, most: int) -> None:
    series, side = view.series[index], ("left", "right")[index]
    found = dots(series, view, most if index == 0 else most // 4)
    marker = plotext.marker("braille", pixel=index + 1)
    xs, ys = [dot.x for dot in found], [max(0.0, min(series.top, dot.y)) for dot in found]
    if found:
        signal = plotext.figure.signal(xs, ys, marker=marker, yside=side)
        for at, dot in enumerate(found):
            signal.line(at, index == 0 and dot.joined)
        plotext.figure.draw(signal)
    half = f"{series.top / 2:g}"
    ends = [f"{series.top:g}{series.unit}", half, "0"]
    plotext.figure.ruler("y", side).lim(0, series.top).ticks([series.top, series.top / 2, 0], ends)


PLAIN_DOTS = ("*", "o")
"""The dots of the first and the second series where there are only plain signs."""
_BRAILLE = re.compile("[\u2801-\u28ff]")
_COLOR = re.compile("\x1b\\[([0-9;]*)m")


def _pieces(line: str, tones: dict[str, Tone]) -> Pieces:
    """A line with colour codes as pieces with tones; whatever is no series is a scale."""
    first, *rest = _COLOR.split(line)
    found: list[tuple[str, Tone]] = [(first, "faint")] if first else []
    for code, text in zip(rest[::2], rest[1::2], strict=True):
        if text:
            found.append((text, tones.get(code, "faint")))
    return tuple(found)


class Chart(Widget):
    """Draws a :class:`ChartView`; nothing where there is too little room, a sentence where plotext can't be had."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)
    DEFAULT_CSS = """
    Chart { height: 1fr; background: transparent; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.view: ChartView | None = None
        self.problem: str | None = None
        self._plotext: Any = None
        self._asked = False
        self._drawn_ns = 0
        self._lines: list[Pieces] = []

    @property
    def glyphs(self) -> Glyphs:
        """The table of signs in use."""
        return getattr(self.app, "glyphs", UNICODE)

    def show(self, view: ChartView | None) -> None:
        """Show ``view`` now, or with the next call if the last drawing is too young."""
        before, self.view = self.view, view
        self._load_once()
        same = before is not None and view is not None and _settings(before) == _settings(view)
        if same and view is not None and 0 <= view.end_ns - self._drawn_ns < REDRAW_NS:
            return
        self._draw()

    def _load_once(self) -> None:
        """Where there is something to draw and room for it."""
        if self.view is not None and not self._asked and self.display and _fits(*self.size):
            self._asked = True
            self.run_worker(self._load(), exit_on_error=False, name="chart")

    async def _load(self) -> None:
        try:
            self._plotext = await in_thread(load_plotext)
        except (ImportError, OSError) as fault:
            self.problem = f"The chart can't be drawn: {fault}"
        self._draw()

    def on_resize(self) -> None:
        """Another size is another drawing."""
        self._load_once()
        self._draw()

    def _draw(self) -> None:
        width, height = self.size
        lines: list[Pieces] = []
        if self.problem:
            lines = [((self.problem, "muted"),)]
        elif self.view is not None and self._plotext is not None and _fits(width, height):
            rest = height - 1 if height > LEAST_HEIGHT + 1 else height
            legend = [legend_of(self.view, self.glyphs)] if rest < height else []
            below = marks_of(self.view, width, self.glyphs) if rest >= MARKS_FROM else []
            plot = draw_chart(self._plotext, self.view, width, rest - len(below))
            plot = told_apart(plot, self.view) if self.glyphs is ASCII else plot
            lines = [*legend, *with_cursor(plot, self.view, width, self.glyphs), *below]
            self._drawn_ns = self.view.end_ns
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the drawing."""
        back = self.rich_style
        pieces = self._lines[y] if y < len(self._lines) else ()
        segments = [Segment(text, back + tone_style(self, tone)) for text, tone in pieces]
        return Strip(segments).adjust_cell_length(self.size.width, back)


def told_apart(lines: list[Pieces], view: ChartView) -> list[Pieces]:
    """The drawing in ASCII: without braille only the letter tells whose dot it is."""
    letters = {series.tone: letter for series, letter in zip(view.series, PLAIN_DOTS, strict=False)}
    return [
        tuple(
            (_BRAILLE.sub(letters.get(tone, PLAIN_DOTS[0]), text.replace("\u2800", " ")), tone)
            for text, tone in line
        )
        for line in lines
    ]


def legend_of(view: ChartView, glyphs: Glyphs) -> Pieces:
    """Which line is what."""
    pieces: list[tuple[str, Tone]] = []
    for index, series in enumerate(view.series):
        sign = PLAIN_DOTS[index] if glyphs is ASCII else (glyphs.dash, glyphs.dot)[index]
        pieces += [("   " if pieces else "", ""), (f"{sign * 2} ", series.tone), (series.label, "muted")]
    told = values_at(view)
    if told is not None:
        return _values(view, *told)
    minutes = view.span_ns // MINUTE_NS
    span = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
    band = ", mean between least and most" if view.step_ns > SECOND_NS else ""
    return (*pieces, (f"   last {span}{band}", "faint"))


def _values(view: ChartView, at_ns: int, values: tuple[float | None, ...]) -> Pieces:
    clock = datetime.fromtimestamp(at_ns / 1e9).strftime("%H:%M:%S")
    pieces: list[tuple[str, Tone]] = [(clock, "accent")]
    for series, value in zip(view.series, values, strict=True):
        number = UNKNOWN if value is None else f"{value:.3g}{series.unit}"
        low, high = next(((low, high) for at, low, high in series.ranges if at == at_ns), (0.0, 0.0))
        number += f" ({low:.3g} to {high:.3g})" if high > low else ""
        pieces += [("   ", ""), (f"{series.label} ", "muted"), (number, series.tone)]
    names = [mark.label for mark in view.marks if mark.start_ns <= at_ns <= (mark.end_ns or view.end_ns)]
    for name in names[-2:]:
        pieces.append((f"   {safe_line(name, 40)}", "accent"))
    return tuple(pieces)


def _fits(width: int, height: int) -> bool:
    return width >= LEAST_WIDTH and height >= LEAST_HEIGHT


def _settings(view: ChartView) -> tuple[object, ...]:
    """What the user chose, and what was recorded: a change of it is seen at once."""
    series = tuple((each.label, len(each.ranges)) for each in view.series)
    return (series, view.span_ns, view.cursor_ns, len(view.marks))


def plot_area(view: ChartView, width: int) -> tuple[int, int]:
    """First column of the plot between its scales, and how many there are."""
    sides = [
        max(len(f"{series.top:g}{series.unit}"), len(f"{series.top / 2:g}")) for series in view.series[:2]
    ]
    left, right = (*sides, 0, 0)[:2]
    return left, max(1, width - left - right)


def column_of(view: ChartView, width: int, at_ns: int) -> int:
    """The column of a moment, clamped to the plot."""
    left, columns = plot_area(view, width)
    part = (at_ns - view.end_ns + view.span_ns) / view.span_ns
    return left + min(columns - 1, max(0, int(part * columns)))


def marks_of(view: ChartView, width: int, glyphs: Glyphs) -> list[Pieces]:
    """The lines below the plot: runs as bars with their names, and when replies were on their way."""
    start = view.end_ns - view.span_ns
    lines: list[Pieces] = []
    marks = [
        mark for mark in view.marks if (mark.end_ns or view.end_ns) >= start and mark.start_ns <= view.end_ns
    ]
    if marks:
        cells = [" "] * width
        for mark in marks:
            _bar(cells, view, mark, glyphs)
        lines.append((("".join(cells), "accent"),))
    busy = [span for span in view.busy if span[1] >= start and span[0] <= view.end_ns]
    if busy:
        cells = [" "] * width
        for first, last in busy:
            one, other = column_of(view, width, first), column_of(view, width, last)
            cells[one : other + 1] = glyphs.bars[1] * (other + 1 - one)
        lines.append((("".join(cells), "muted"),))
    return lines


def _bar(cells: list[str], view: ChartView, mark: Mark, glyphs: Glyphs) -> None:
    first = column_of(view, len(cells), mark.start_ns)
    last = column_of(view, len(cells), mark.end_ns or view.end_ns)
    words = f"{glyphs.mark}{safe_line(mark.label, 40)}"
    room = last + 1 - first
    text = words[:room].ljust(room, glyphs.dash)
    # Wide characters would shift what follows: such a name is left out.
    cells[first : last + 1] = text if cell_len(text) == room else glyphs.mark + glyphs.dash * (room - 1)


def with_cursor(lines: list[Pieces], view: ChartView, width: int, glyphs: Glyphs) -> list[Pieces]:
    """``lines`` of the plot with an upright line at the cursor, where nothing else stands."""
    if view.cursor_ns is None:
        return lines
    column = column_of(view, width, view.cursor_ns)
    return [_crossed(pieces, column, glyphs.line) for pieces in lines[:-1]] + lines[-1:]


def _crossed(pieces: Pieces, column: int, sign: str) -> Pieces:
    found: list[tuple[str, Tone]] = []
    at = 0
    for text, tone in pieces:
        place = column - at
        at += len(text)
        if 0 <= place < len(text) and text[place] in " \u2800":
            found += [(text[:place], tone), (sign, "accent"), (text[place + 1 :], tone)]
        else:
            found.append((text, tone))
    if column >= at:
        found += [(" " * (column - at), ""), (sign, "accent")]
    return tuple(piece for piece in found if piece[0])


def values_at(view: ChartView) -> tuple[int, tuple[float | None, ...]] | None:
    """The moment nearest to the cursor at which something was measured, and the value of each series there."""
    if view.cursor_ns is None or not view.series or not view.series[0].points:
        return None
    times = [at for at, _ in view.series[0].points]
    place = min(len(times) - 1, bisect_left(times, view.cursor_ns))
    if place and view.cursor_ns - times[place - 1] < times[place] - view.cursor_ns:
        place -= 1
    at = times[place]
    return at, tuple(next((value for when, value in each.points if when == at), None) for each in view.series)
