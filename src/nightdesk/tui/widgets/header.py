"""The first line of the screen: desk, capture, model servers, orphans, verdicts, clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from textual.reactive import reactive
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.desk import ModelServer
from nightdesk.model.units import format_bytes
from nightdesk.tui.glyphs import UNICODE, Glyphs
from nightdesk.tui.link import LinkState
from nightdesk.tui.text import Cell, Part, line


@dataclass(frozen=True, slots=True)
class HeaderView:
    """What the line says. ``facts`` are dropped from the right where the screen is too narrow."""

    desk: str
    facts: tuple[Cell, ...]
    clock: str


def select(desk: Mirror | None, name: str, link: LinkState, now_ns: int, glyphs: Glyphs) -> HeaderView:
    """The line for the desk as it is now."""
    facts: list[Cell] = []
    if link.kind == "starting":
        facts.append(Cell(f"{glyphs.wait} starting the engine", "muted"))
    elif link.kind in ("lost", "failed"):
        facts.append(Cell(f"{glyphs.fail} no engine", "bad"))
    if desk is not None:
        facts += _facts(desk, glyphs)
    clock = datetime.fromtimestamp(now_ns / 1e9).strftime("%H:%M:%S")
    return HeaderView(desk.desk.name if desk else name, tuple(facts), clock)


def _facts(desk: Mirror, glyphs: Glyphs) -> list[Cell]:
    facts = [*_config_faults(desk, glyphs), _capture(desk, glyphs)]
    facts += [_server(server, glyphs) for server in desk.servers]
    orphans = sum(row.owner == "orphan" for row in desk.processes.values())
    if orphans:
        facts.append(Cell(f"{glyphs.warn} {_many(orphans, 'orphan')}", "warn"))
    if desk.counts.verdicts:
        facts.append(Cell(f"{glyphs.verdict} {_many(desk.counts.verdicts, 'verdict')}", "warn"))
    return facts


def _config_faults(desk: Mirror, glyphs: Glyphs) -> list[Cell]:
    """Foremost, so that no narrow screen drops it: the user believes that an edit is in force, and it is not."""
    count = len(desk.desk.config_problems)
    return [Cell(f"{glyphs.warn} {_many(count, 'fault')} in nightdesk.toml", "bad")] if count else []


def _capture(desk: Mirror, glyphs: Glyphs) -> Cell:
    source = desk.sources.get("capture")
    if source is None or source.state == "off":
        return Cell(f"{glyphs.off} no capture", "muted")
    label = source.label or "capture"
    match source.state:
        case "live":
            return Cell(f"{glyphs.live} ", "ok", ((label, "muted"),))
        case "starting":
            return Cell(f"{glyphs.wait} {label}", "muted")
        case "degraded":
            return Cell(f"{glyphs.warn} {label}", "warn")
        case _:
            return Cell(f"{glyphs.fail} {label} failed", "bad")


def _server(server: ModelServer, glyphs: Glyphs) -> Cell:
    if server.state == "down":
        return Cell(f"{glyphs.off} nothing at {server.address}", "muted")
    words = f"ollama {server.version}" if server.version else server.address
    words += f" {glyphs.dot} {_many(len(server.models), 'model')}"
    sizes = [model.size_bytes for model in server.models if model.size_bytes is not None]
    if sizes:
        words += f" {glyphs.dot} {format_bytes(sum(sizes))}"
    return Cell(words, "muted")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class HeaderLine(Static):
    """Draws a :class:`HeaderView`."""

    DEFAULT_CSS = """
    HeaderLine { height: 1; padding: 0 1; background: $panel; color: $foreground; text-wrap: nowrap; }
    """
    view: reactive[HeaderView | None] = reactive(None)
    GAP: ClassVar[str] = "   "

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id, markup=False)

    @property
    def glyphs(self) -> Glyphs:
        """The table of signs in use."""
        return getattr(self.app, "glyphs", UNICODE)

    def watch_view(self) -> None:
        """Draw what differs."""
        self._draw()

    def on_resize(self) -> None:
        """Other facts fit."""
        self._draw()

    def _draw(self) -> None:
        if self.view is None:
            return
        width = self.content_size.width
        left = line(Cell("nightdesk", "strong"), "  ", Cell(self.view.desk, "accent"))
        shown: list[Part] = [left]
        used = left.cell_length + len(self.view.clock) + 2
        for fact in self.view.facts:
            piece = line(self.GAP, fact)
            if used + piece.cell_length <= width:
                used += piece.cell_length
                shown.append(piece)
        clock = Cell(" " * max(1, width - used + 2) + self.view.clock, "muted")
        self.update(line(*shown, clock), layout=False)
