"""Two exchanges compared: prompt, options, response by words, timing and tokens in a table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.inspection.exchange_diff import PARTS, ExchangeDiff, Figure, Part, diff_exchanges
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange
from nightdesk.model.units import UNKNOWN, format_bytes, format_duration
from nightdesk.tui.asks import Ask, FeedRequested
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.link import Engine
from nightdesk.tui.text import Cell, Tone, line, shortened
from nightdesk.tui.widgets.diffview import DiffRow, DiffView, Look, text_rows
from nightdesk.tui.widgets.lines import Pieces
from nightdesk.tui.widgets.sheet import Sheet
from nightdesk.tui.widgets.tabs import TabStrip

WIDE = 110
"""Columns from which both sides stand beside each other."""
NAMES = {"prompt": "Prompt", "options": "Options", "response": "Response", "timing": "Timing"}
TIMING = PARTS.index("timing")
MUCH = 1.1
"""Ratios beyond this, or below its inverse, are worth a colour."""

Compared = tuple[Exchange, Exchange, ExchangeDiff]


async def compare(engine: Engine, left: int, right: int) -> Compared:
    """Both exchanges and what differs. Big ones take a moment, so it is done beside the screen."""
    ours, theirs = await engine.exchange(left), await engine.exchange(right)
    return ours, theirs, await asyncio.to_thread(diff_exchanges, ours, theirs)


class DiffScreen(Sheet[None]):
    """Left is the marked or original exchange, right the other one."""

    TALL = True
    DEFAULT_CSS = """
    DiffScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        .side { height: 1; text-wrap: nowrap; padding: 0 1; }
        TabStrip { margin: 1 0; }
        DiffView { padding: 0 1; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "go(1)", "next difference", id="diff.next", tooltip="Next difference, over all pages"),
        Binding("N", "go(-1)", "previous", id="diff.previous", tooltip="Previous difference"),
        Binding("f", "fold", "fold", id="diff.fold", tooltip="Fold or unfold what is equal"),
        Binding("s", "swap", "swap", id="diff.swap", tooltip="Swap the sides"),
        Binding("tab", "turn(1)", "next page", id="diff.next_page", tooltip="Next part"),
        Binding("shift+tab", "turn(-1)", "Previous page", show=False, id="diff.page_before"),
        *(
            Binding(
                str(number),
                f"page({number - 1})",
                f"Page {name}",
                show=False,
                id=f"diff.page{number}",
                tooltip=f"What differs in: {name}",
            )
            for number, name in enumerate(NAMES.values(), 1)
        ),
    ]

    def __init__(self, left: int, right: int) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.page = 0
        self.is_folded = True
        self.compared: Compared | None = None
        self._asking = False
        self._chose_page = False

    def compose_sheet(self) -> ComposeResult:
        """Both sides in a line each, the parts, the page."""
        yield Static(id="left", classes="side", markup=False)
        yield Static(id="right", classes="side", markup=False)
        yield TabStrip()
        yield DiffView()

    def on_mount(self) -> None:
        """Ask for both."""
        self._show_title()
        self.query_one(DiffView).focus()
        self.app.post_message(FeedRequested())
        self._fetch()

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Compare again when one of them has ended meanwhile."""
        if desk is None or self.compared is None:
            return
        for exchange in self.compared[:2]:
            row = desk.exchanges.get(exchange.id)
            if exchange.state == "running" and row is not None and row.state != "running":
                self._fetch()

    def _fetch(self) -> None:
        if not self._asking:
            self._asking = True
            left, right = self.left, self.right
            self.post_message(Ask(lambda engine: compare(engine, left, right), self._take))

    def _take(self, answer: Any | NightdeskError) -> None:
        self._asking = False
        if not self.query(DiffView):
            return
        if isinstance(answer, NightdeskError):
            words = f"{self.glyphs.fail} {answer}"
            self.query_one(DiffView).show([DiffRow(((words, "bad"),))], plain=True)
            return
        is_first, self.compared = self.compared is None, answer
        if (answer[0].id, answer[1].id) != (self.left, self.right):
            self._fetch()
            return
        if is_first and not self._chose_page:
            self.page = _first_page(answer[2])
        self._draw()

    # Drawing

    def _show_title(self) -> None:
        numbers = Cell(f"{self.left} {self.glyphs.arrow} {self.right}", "strong")
        changes = ""
        if self.compared is not None:
            count = sum(section.diff.changes for section in self.compared[2].sections)
            changes = f" {self.glyphs.dot} {count} {'difference' if count == 1 else 'differences'}"
        self.show_title(line("Diff ", numbers, changes))

    def _draw(self, *, from_top: bool = True) -> None:
        if self.compared is None or not self.query(DiffView):
            return
        left, right, diff = self.compared
        self._show_title()
        self.query_one("#left", Static).update(line(*side_cells(Cell("- ", "bad"), left, self.glyphs)))
        self.query_one("#right", Static).update(line(*side_cells(Cell("+ ", "ok"), right, self.glyphs)))
        names = list(enumerate((_label(diff, part) for part in PARTS), 1))
        self.query_one(TabStrip).show(names, self.page + 1)
        view = self.query_one(DiffView)
        width = view.scrollable_content_region.width or self.app.size.width - 8
        look = Look(width, self.app.size.width >= WIDE, self.is_folded, self.glyphs)
        if self.page == TIMING:
            view.show(timing_rows(diff, look), plain=True, from_top=from_top)
        else:
            view.show(part_rows(diff, PARTS[self.page], look), from_top=from_top)

    def on_resize(self) -> None:
        """Another width, another look."""
        if self.is_mounted:
            self.call_after_refresh(self._draw)

    # Keys

    @on(TabStrip.Chosen)
    def _tab_chosen(self, event: TabStrip.Chosen) -> None:
        self.action_page(event.number - 1)

    def action_page(self, page: int) -> None:
        """Show a part."""
        self._chose_page = True
        self.page = page
        self._draw()

    def action_turn(self, step: int) -> None:
        """The next part."""
        self.action_page((self.page + step) % len(PARTS))

    def action_fold(self) -> None:
        """Show or hide what is equal."""
        self.is_folded = not self.is_folded
        self._draw()

    def action_swap(self) -> None:
        """The left one to the right."""
        self.left, self.right = self.right, self.left
        self._fetch()

    def action_go(self, step: int) -> None:
        """To the next difference, on the next page where this one has no more."""
        view = self.query_one(DiffView)
        if self.compared is None or view.go(step):
            return
        for page in range(self.page + step, len(PARTS) if step > 0 else -1, step):
            changes = _changes(self.compared[2], PARTS[page])
            if changes:
                self.action_page(page)
                view.change = 0 if step > 0 else changes + 1
                view.go(step)
                return
        which = "last" if step > 0 else "first"
        self.notify(f"That was the {which} difference.", markup=False)


def _changes(diff: ExchangeDiff, part: Part) -> int:
    return sum(section.diff.changes for section in diff.sections if section.part == part)


def _first_page(diff: ExchangeDiff) -> int:
    """The response where it differs, else the first part that does."""
    order: tuple[Part, ...] = ("response", "prompt", "options")
    return next((PARTS.index(part) for part in order if _changes(diff, part)), TIMING)


def _label(diff: ExchangeDiff, part: Part) -> str:
    count = _changes(diff, part)
    return NAMES[part] + (f" {count}" if count else "" if part == "timing" else " =")


def side_cells(sign: Cell, exchange: Exchange, glyphs: Glyphs) -> Iterator[Cell]:
    """One side in a line."""
    yield sign
    yield Cell(f"{exchange.id}  ", "strong")
    yield Cell(f"{exchange.model or UNKNOWN}  ")
    yield Cell(f"{exchange.state}  ", "muted" if exchange.state == "complete" else "warn")
    if exchange.replay_of is not None:
        yield Cell(f"replay of {exchange.replay_of}  ", "accent")
    elif exchange.job:
        item = f" {glyphs.part_of} {exchange.item}" if exchange.item else ""
        yield Cell(f"{exchange.job}{item}  ", "muted")
    took = None if exchange.ended_ns is None else exchange.ended_ns - exchange.started_ns
    yield Cell(format_duration(took), "muted")
    for verdict in exchange.verdicts[:3]:
        yield Cell(f"  {glyphs.verdict} {verdict.kind.replace('_', ' ')}", "warn")


# Pages


def part_rows(diff: ExchangeDiff, part: Part, look: Look) -> Iterator[DiffRow]:
    """The texts of a part, each below its heading."""
    number = 1
    for section in diff.sections:
        if section.part != part:
            continue
        count = section.diff.changes
        words = "equal" if not count else "1 difference" if count == 1 else f"{count} differences"
        words = words if section.diff.stretches else "neither has any"
        lead = look.glyphs.dash * 2
        yield DiffRow(((f"{lead} ", "border"), (section.title, "accent"), (f"  {words}", "faint")))
        if section.missing:
            yield DiffRow(((section.missing, "warn"),))
        yield from text_rows(section.diff, look, number)
        yield DiffRow(())
        number += count


def timing_rows(diff: ExchangeDiff, look: Look) -> Iterator[DiffRow]:
    """Words that differ, then the figures with difference and ratio."""
    room = max(10, min(40, (look.width - 24) // 2))
    for fact in diff.facts:
        cut = look.glyphs.cut
        left, right = shortened(fact.left, room - 2, cut), shortened(fact.right, room - 2, cut)
        tone: Tone = "" if fact.left == fact.right else "strong"
        yield DiffRow(((f"{fact.name:<22}", "muted"), (f"{left:<{room}}", tone), (right, tone)))
    yield DiffRow(())
    yield DiffRow(_cells("", str(diff.left), str(diff.right), "difference", "ratio", "muted"))
    for figure in diff.figures:
        yield DiffRow(figure_pieces(figure, look.glyphs))


def figure_pieces(figure: Figure, glyphs: Glyphs) -> Pieces:
    """One figure: both values, what lies between, and by which factor."""
    ratio = figure.ratio
    tone: Tone = "muted"
    sign = " "
    if ratio is not None and not 1 / MUCH <= ratio <= MUCH:
        more = ratio > 1
        sign = glyphs.up if more else glyphs.down
        worse = more if figure.unit == "ns" else not more if figure.unit == "tokens/s" else None
        tone = "" if worse is None else "warn" if worse else "ok"
    words = UNKNOWN if ratio is None else f"{glyphs.times}{ratio:.2f}"
    gap = figure.difference
    between = (
        UNKNOWN if gap is None else f"{'+' if gap > 0 else '-' if gap < 0 else ''}{_value(figure, abs(gap))}"
    )
    both = _value(figure, figure.left), _value(figure, figure.right)
    return _cells(figure.name, *both, between, f"{sign} {words}", tone)


def _cells(name: str, left: str, right: str, between: str, ratio: str, tone: Tone) -> Pieces:
    return (
        (f"{name:<22}", "muted"),
        (f"{left:>12}{right:>12}", ""),
        (f"{between:>14}", tone),
        (f"{ratio:>12}", tone),
    )


def _value(figure: Figure, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if figure.unit == "ns":
        return format_duration(round(value))
    if figure.unit == "bytes":
        return format_bytes(round(value))
    return f"{value:,.1f}/s" if figure.unit == "tokens/s" else f"{value:,.0f}"
