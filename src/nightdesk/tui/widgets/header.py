"""The first line of the screen: desk, capture, model servers, orphans, verdicts, clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual.reactive import reactive
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.foreign import safe_line
from nightdesk.core.sensors.alarms import desk_alarms
from nightdesk.model.desk import ModelServer
from nightdesk.model.units import format_bytes
from nightdesk.tui.glyphs import UNICODE, Glyphs
from nightdesk.tui.link import LinkState
from nightdesk.tui.text import Cell, line


class Fact(NamedTuple):
    """A piece of the line; ``short`` stands where there is no room for all of it."""

    words: Cell
    short: Cell | None = None

    @property
    def urgent(self) -> bool:
        """Whether it asks for attention."""
        return self.words.tone in ("warn", "bad")


@dataclass(frozen=True, slots=True)
class HeaderView:
    """What the line says. Where the screen is too narrow, what needs nobody's attention is left out first."""

    desk: str
    facts: tuple[Fact, ...]
    clock: str


def select(
    desk: Mirror | None, name: str, link: LinkState, now_ns: int, glyphs: Glyphs, verdicts_seen: int = 0
) -> HeaderView:
    """The line for the desk as it is now. ``verdicts_seen``: so many the user has looked at in this viewer."""
    facts: list[Fact] = []
    if link.kind == "starting":
        facts.append(Fact(Cell(f"{glyphs.wait} starting the engine", "muted")))
    elif link.kind in ("lost", "failed"):
        short = Cell(f"{glyphs.fail} no engine", "bad")
        facts.append(Fact(Cell(f"{short.text}: ctrl+r starts one", "bad"), short))
    if desk is not None:
        facts += _facts(desk, now_ns, glyphs, verdicts_seen)
    clock = datetime.fromtimestamp(now_ns / 1e9).strftime("%H:%M:%S")
    return HeaderView(desk.desk.name if desk else name, tuple(facts), clock)


def _facts(desk: Mirror, now_ns: int, glyphs: Glyphs, verdicts_seen: int) -> list[Fact]:
    facts = [*_config_faults(desk, glyphs), Fact(_capture(desk, glyphs))]
    facts += [_server(server, glyphs) for server in desk.servers]
    facts += _awake(desk, glyphs) + _disk(desk, glyphs)
    orphans = sum(row.owner == "orphan" for row in desk.processes.values())
    if orphans:
        facts.append(Fact(Cell(f"{glyphs.warn} {_many(orphans, 'orphan')}", "warn")))
    facts += _alarms(desk, glyphs)
    facts += _machine_alarms(desk, now_ns, glyphs)
    # An engine that was started again counts from 0.
    seen = verdicts_seen if verdicts_seen <= desk.counts.verdicts else 0
    if unseen := desk.counts.verdicts - seen:
        facts.append(Fact(Cell(f"{glyphs.verdict} {_many(unseen, 'verdict')}", "warn")))
    return facts


def _awake(desk: Mirror, glyphs: Glyphs) -> list[Fact]:
    """Whether the machine is kept awake for the runs."""
    source = desk.sources.get("awake")
    if source is None or source.state == "off":
        return []
    if source.state == "live":
        return [Fact(Cell(f"{glyphs.live} awake", "muted"), Cell("awake", "muted"))]
    return [Fact(Cell(f"{glyphs.warn} may fall asleep", "warn"), Cell(f"{glyphs.warn} may sleep", "warn"))]


def _disk(desk: Mirror, glyphs: Glyphs) -> list[Fact]:
    """Whether the disk has room for what the runs write."""
    source = desk.sources.get("disk")
    if source is None or source.state != "degraded":
        return []
    return [Fact(Cell(f"{glyphs.warn} {source.label}", "warn"))]


def _alarms(desk: Mirror, glyphs: Glyphs) -> list[Fact]:
    """What is wrong with a reply that still runs: now something can be done about it."""
    found = [row for row in desk.exchanges.values() if row.state == "running" and row.verdicts]
    if not found:
        return []
    newest = found[-1]
    kind = newest.verdicts[0].replace("_", " ")
    more = f" +{len(found) - 1}" if len(found) > 1 else ""
    words = f"{glyphs.verdict} {kind} now{more}: {newest.job or newest.model or newest.id}"
    return [Fact(Cell(safe_line(words, 60), "bad"), Cell(f"{glyphs.verdict} {kind} now{more}", "bad"))]


def _machine_alarms(desk: Mirror, now_ns: int, glyphs: Glyphs) -> list[Fact]:
    """What is wrong with the accelerators; the pane has the advice."""
    found = desk_alarms(desk.samples, now_ns, desk.servers, desk.exchanges.values())
    if not found:
        return []
    more = f" +{len(found) - 1}" if len(found) > 1 else ""
    short = found[0].kind.replace("_", " ")
    return [
        Fact(
            Cell(safe_line(f"{glyphs.warn} {found[0].words}{more}", 60), "bad"),
            Cell(f"{glyphs.warn} {short}{more}", "bad"),
        )
    ]


def _config_faults(desk: Mirror, glyphs: Glyphs) -> list[Fact]:
    """Foremost, so that no narrow screen drops it: the user believes that an edit is in force, and it is not."""
    count = len(desk.desk.config_problems)
    return [Fact(Cell(f"{glyphs.warn} {_many(count, 'fault')} in nightdesk.toml", "bad"))] if count else []


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


def _server(server: ModelServer, glyphs: Glyphs) -> Fact:
    if server.state == "down":
        port = server.address.rpartition(":")[2]
        long, short = (f"{glyphs.off} nothing at {where}" for where in (server.address, f":{port}"))
        return Fact(Cell(long, "muted"), Cell(short, "muted"))
    models = _many(len(server.models), "model") if server.models else "no model loaded"
    words = f"ollama {server.version}" if server.version else server.address
    words += f" {glyphs.dot} {models}"
    sizes = [model.size_bytes for model in server.models if model.size_bytes is not None]
    if sizes:
        words += f" {glyphs.dot} {format_bytes(sum(sizes))}"
    return Fact(Cell(words, "muted"), Cell(models, "muted"))


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
        # A folder's name can be 255 long; what is wrong and the clock must stay on the screen.
        name = safe_line(self.view.desk, max(12, width // 4))
        left = line(Cell("nightdesk", "strong"), "  ", Cell(name, "accent"))
        room = width - left.cell_length - len(self.view.clock) - 2
        shown = [line(self.GAP, piece) for piece in fitting(self.view.facts, room, len(self.GAP))]
        used = left.cell_length + sum(piece.cell_length for piece in shown) + len(self.view.clock)
        clock = Cell(" " * max(1, width - used) + self.view.clock, "muted")
        self.update(line(left, *shown, clock), layout=False)


def fitting(facts: Sequence[Fact], room: int, gap: int) -> list[Cell]:
    """The facts for ``room`` cells, each behind a gap: urgent ones first, the short form where that helps."""
    chosen: dict[int, Cell] = {}
    for index, fact in sorted(enumerate(facts), key=lambda pair: (not pair[1].urgent, pair[0])):
        for words in (fact.words, fact.short):
            if words is not None and cell_len(words.plain) + gap <= room:
                room -= cell_len(words.plain) + gap
                chosen[index] = words
                break
    return [chosen[index] for index in sorted(chosen)]
