"""What all panes share: a border with number, title and age, the four looks, the filter line, drawing on change.

A pane is fed the mirror; it selects a frozen view (a pure function in its own module) and draws what differs.
It asks by messages (``nightdesk.tui.asks``); screens and the app decide, the link sends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Self, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region, Size
from textual.widgets import Input, Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.units import format_duration
from nightdesk.tui.glyphs import UNICODE, Glyphs
from nightdesk.tui.link import LinkState
from nightdesk.tui.text import Cell, Part, Tone, content, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.filterhint import FilterHint

if TYPE_CHECKING:
    from nightdesk.core.inspection.completion import Suggestion
    from nightdesk.model.desk import SourceState

View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Look:
    """What stands where the data would be. ``kind`` "live" shows the data."""

    kind: Literal["live", "loading", "empty", "failed"] = "live"
    message: str = ""
    hint: str = ""


LIVE = Look()
LOADING = Look("loading", "Waiting for the engine.")


@dataclass(frozen=True, slots=True)
class Heading:
    """The border's words: ``note`` behind the title, ``right`` at the other end (source and age)."""

    note: tuple[Part, ...] = ()
    right: tuple[Part, ...] = ()


class Notice(Static, can_focus=True):
    """The sentence of a pane that has no data to show. Holds the focus then, so that the pane's keys work."""

    DEFAULT_CSS = """
    Notice { height: 1fr; padding: 1 2; color: $text-muted; background: transparent; }
    """


class FilterLine(Field):
    """The line in which a filter is typed. Enter keeps it, escape clears it."""

    DEFAULT_CSS = """
    FilterLine { display: none; height: 1; border: none; padding: 0 1; dock: bottom; background: $boost; }
    FilterLine.-open { display: block; }
    FilterLine:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "keep", id="filter.keep", tooltip="Keep the filter"),
        Binding("escape", "leave", "clear", key_display="esc", id="filter.clear", tooltip="Clear the filter"),
        Binding("tab", "accept", "complete", id="filter.accept", tooltip="Take the suggestion"),
        Binding("down", "choose(1)", "Next suggestion", show=False, id="filter.next"),
        Binding("up", "choose(-1)", "Previous suggestion", show=False, id="filter.before"),
    ]

    @property
    def hint(self) -> FilterHint | None:
        """The line below, in panes that suggest something."""
        return next(iter(self.parent.query(FilterHint)), None) if isinstance(self.parent, Pane) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Suggestions can be taken where there are some."""
        if action in ("accept", "choose"):
            return self.hint is not None and bool(self.hint.suggestions)
        return super().check_action(action, parameters)

    def action_leave(self) -> None:
        """Clear the text; the pane closes the line."""
        self.value = ""
        self.post_message(self.Submitted(self, ""))

    def action_accept(self) -> None:
        """Put the suggestion in place of what it completes."""
        if self.hint is not None and self.hint.suggestions:
            taken = self.hint.suggestions[self.hint.chosen]
            self.replace(taken.insert, taken.start, taken.end)
            self.cursor_position = taken.start + len(taken.insert)

    def action_choose(self, by: int) -> None:
        """Choose another suggestion."""
        if self.hint is not None:
            self.hint.move(by)

    def watch_selection(self) -> None:
        """Other words may stand elsewhere."""
        if isinstance(self.parent, Pane):
            self.parent.show_hint()


class Pane(Vertical, Generic[View]):
    """Base of the five panes. Subclasses set the class variables and give the methods marked *override*."""

    NUMBER: ClassVar[int]
    TITLE: ClassVar[str]
    HELP: ClassVar[str] = ""
    PARTS: ClassVar[tuple[str, ...]] = ()
    """Parts of the mirror that it shows; it draws again only when one of them changed."""
    SOURCE: ClassVar[str | None] = None
    """Name of the engine's source whose trouble this pane reports."""
    TICKS: ClassVar[bool] = False
    """Draw once a second even when nothing changed: the pane shows ages or elapsed times."""
    FAST: ClassVar[bool] = False
    """Draw five times a second while a reply grows."""
    FILTERS: ClassVar[bool] = True
    SUGGESTS: ClassVar[bool] = False
    """Suggests words while a filter is typed, and says what is wrong with it."""
    ALLOW_MAXIMIZE = False

    DEFAULT_CSS = """
    Pane {
        border: round $border-blurred; border-title-color: $foreground; border-title-style: none;
        border-subtitle-color: $text-muted; border-title-background: transparent; padding: 0; height: 1fr;
        &:focus-within { border: round $border; }
        &.-stale { border: round $warning 60%; }
        & > #notice { display: none; }
        &.-notice > #notice { display: block; }
        &.-notice > .body { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # At once, so that what is typed right behind it is text already and no keys of the pane.
        Binding("slash", "filter", "filter", key_display="/", id="pane.filter", priority=True),
        Binding("escape", "clear_filter", "Clear the filter", show=False, id="pane.clear_filter"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id or type(self).__name__.removesuffix("Pane").lower())
        self.view: View | None = None
        self.desk: Mirror | None = None
        self.now_ns = 0
        self.filter_text = ""
        self._link = LinkState("starting")
        self._drawn: Hashable = None
        self._look = LOADING
        self.add_class("-notice", update=False)
        self._heading = Heading()
        self._remarks: list[Part] = []
        self._titled: tuple[Heading, Size] | None = None
        self._border_words: tuple[Content | None, Content | None] = (None, None)
        self._edge: int | None = None

    # Override

    select: Callable[[Mirror, int], View]
    """*override* as a method of (desk, now_ns): the frozen view. Calls the module's pure select function with the
    pane's settings."""
    draw: Callable[[View, View | None], None]
    """*override* as a method of (view, old): bring the widgets up to ``view``; touch only what differs from ``old``."""

    def compose_body(self) -> ComposeResult:
        """*override*: the widgets of the live look; the pane gives them the class ``body``."""
        yield from ()

    def look(self, view: View) -> Look:
        """*override*: empty (say why, and what to do) or failed instead of live."""
        return LIVE

    def heading(self, view: View) -> Heading:
        """*override*: the border's words."""
        return Heading()

    def remark(self) -> Part:
        """*override*: what the line under the cursor has no room for; stands at the lower border."""
        return ""

    def suggestions(self, text: str, cursor: int) -> tuple[Suggestion, ...]:
        """*override*: what may stand at the cursor of the filter line, best first."""
        return ()

    def filter_fault(self) -> str:
        """*override*: one sentence on a filter that can't be read."""
        return ""

    # Use

    @property
    def glyphs(self) -> Glyphs:
        """The table of signs in use."""
        return getattr(self.app, "glyphs", UNICODE)

    def feed(self, desk: Mirror | None, link: LinkState, now_ns: int) -> None:
        """Take in the desk as it is now. Cheap when nothing that this pane shows has changed."""
        self.desk, self._link, self.now_ns = desk, link, now_ns
        if not self.is_mounted or not self.display:
            return
        self._show_age()
        if desk is None:
            self._show_look(self._look_without_data())
            return
        state = (
            tuple(desk.revisions[part] for part in (*self.PARTS, "sources")),
            now_ns if self.TICKS else 0,
        )
        if state != self._drawn:
            self._drawn = state
            self._draw_now()

    def redraw(self) -> None:
        """Draw again after a setting (filter, order) changed."""
        self._drawn = None
        if self.desk is not None and self.is_mounted:
            self._draw_now()

    def _draw_now(self) -> None:
        assert self.desk is not None
        view = self.select(self.desk, self.now_ns)
        old, self.view = self.view, view
        look = self.look(view)
        source = self.source
        if look.kind == "empty" and source is not None and source.state == "failed":
            look = Look("failed", f"{self.TITLE} can't be read: {source.message or 'no reason given'}")
        with self.app.batch_update():
            self._show_look(look)
            if old != view:
                self.draw(view, old)
            self._show_heading(self.heading(view))
            self._show_age()

    @property
    def source(self) -> SourceState | None:
        """The engine's source behind this pane."""
        return self.desk.sources.get(self.SOURCE) if self.desk is not None and self.SOURCE else None

    # Looks

    def compose(self) -> ComposeResult:
        """The body, the notice and the filter line."""
        for widget in self.compose_body():
            widget.add_class("body", update=False)  # it gets its looks when it is mounted
            yield widget
        yield Notice(self._notice(LOADING), id="notice", markup=False)
        if self.FILTERS:
            yield FilterLine(placeholder="filter", id="filter", select_on_focus=False)
        if self.SUGGESTS:
            yield FilterHint()

    def on_mount(self) -> None:
        """Until data comes, the border says whose place it is."""
        self._show_heading(Heading())

    def _look_without_data(self) -> Look:
        if self._link.kind in ("failed", "lost"):
            return Look("failed", self._link.message, self._link.hint)
        return LOADING

    def _show_look(self, look: Look) -> None:
        if look == self._look:
            return
        focused = self.screen.focused
        had_focus = focused is not None and self in focused.ancestors and not isinstance(focused, FilterLine)
        self._look = look
        self.set_class(look.kind != "live", "-notice")
        if look.kind != "live":
            self.query_one("#notice", Notice).update(self._notice(look))
        if had_focus:
            self.focus_body()

    def _notice(self, look: Look) -> Content:
        sign = self.glyphs.fail + " " if look.kind == "failed" else ""
        tone: Tone = "bad" if look.kind == "failed" else "muted"
        parts: list[Part] = [Cell(sign + look.message, tone)]
        if look.hint:
            parts.append(Cell("\n" + look.hint, "muted"))
        return content(*parts)

    def show_remark(self) -> None:
        """Draw the lower border again: the cursor is on another line."""
        self.refresh_bindings()
        self._show_age()

    def _show_age(self) -> None:
        """Trouble at the lower border: a lost link, a degraded source, a filter that hides rows."""
        lost = self._link.kind == "lost"
        self.set_class(lost, "-stale")
        parts: list[Part] = []
        if lost and self._link.since_ns is not None:
            age = format_duration(max(0, self.now_ns - self._link.since_ns) // 10**9 * 10**9)
            parts.append(Cell(f"{self.glyphs.warn} as of {age} ago, the engine does not answer", "warn"))
        source = self.source
        if source is not None and source.state in ("degraded", "failed") and source.message:
            parts.append(Cell(f"{self.glyphs.warn} {source.message}", "warn"))
        if self.view is not None and self._look.kind == "live" and (remark := self.remark()):
            parts.append(remark)
        if self.filter_text:
            parts.append(Cell(f"/{self.filter_text}", "accent"))
        if parts == self._remarks:
            return
        self._remarks = parts
        joined: list[Part] = []
        for part in parts:
            joined += [" ", part] if joined else [part]
        self._show_border(self._border_words[0], line(*joined))

    # The border

    def _show_heading(self, heading: Heading) -> None:
        self._heading = heading
        if self._titled != (heading, self.size):
            self._titled = (heading, self.size)
            self._show_border(self._title(self.size), self._border_words[1])

    def _show_border(self, title: Content | None, subtitle: Content | None) -> None:
        """Draw the upper and the lower border where their words differ, and nothing between."""
        before, self._border_words = self._border_words, (title, subtitle)
        if title != before[0]:
            self._edge = -1
            self.border_title = title
        if subtitle != before[1]:
            self._edge = self.size.height
            self.border_subtitle = subtitle
        self._edge = None

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """Draw again: one line of the border where only its words changed."""
        if self._edge is not None and not regions:
            regions = (Region(-1, self._edge, self.outer_size.width, 1),)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def _title(self, size: Size) -> Content:
        """Number, title and note at the left, the rest at the right, the border's own line between."""
        tone: Tone = "border"
        left = line(Cell(f"{self.NUMBER} ", "accent"), Cell(self.TITLE, "strong"))
        if self._heading.note:
            left = line(left, Cell(f" {self.glyphs.dash * 2} ", tone), *self._heading.note)
        right = line(*self._heading.right)
        room = size.width - 4 - left.cell_length - right.cell_length
        if not right.plain or room < 3:
            return left
        return line(left, Cell(f" {self.glyphs.dash * (room - 2)} ", tone), right)

    def on_resize(self) -> None:
        """The border's line has another length."""
        self._show_heading(self._heading)

    # Focus and filter

    def focus_body(self) -> None:
        """Focus what the keys work on: the first part of the body, the notice, or the pane itself."""
        live = self._look.kind == "live"
        parts = self.query(".body, .body *") if live else self.query("#notice")
        target = next((part for part in parts if part.focusable), None)
        if target is None:
            self.can_focus = True
        # Widget.focus() takes effect later: keys typed meanwhile would reach the widget before.
        self.screen.set_focus(target or self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No filter key where there is no filter, or one is being typed."""
        if action == "filter" and isinstance(self.screen.focused, FilterLine):
            return False
        return self.FILTERS if action in ("filter", "clear_filter") else True

    def action_filter(self) -> None:
        """Open the filter line."""
        field = self.query_one(FilterLine)
        field.add_class("-open")
        self.screen.set_focus(field)
        self.show_hint()

    def show_hint(self) -> None:
        """Draw the line below the filter line again."""
        for hint in self.query(FilterHint):
            field = self.query_one(FilterLine)
            hint.set_class(field.has_class("-open"), "-open")
            if field.has_class("-open"):
                hint.show(self.suggestions(field.value, field.cursor_position), self.filter_fault())
                field.refresh_bindings()

    def action_clear_filter(self) -> None:
        """Show everything again."""
        if self.filter_text:
            self.query_one(FilterLine).value = ""
            self.query_one(FilterLine).remove_class("-open")
            self.show_hint()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.filter_text = event.value
        self.redraw()
        self._show_age()
        self.show_hint()

    @on(Input.Submitted, "#filter")
    def _filter_done(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(FilterLine).remove_class("-open")
        self.show_hint()
        self.focus_body()
