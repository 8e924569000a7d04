"""From a line of a log to what else happened at its moment: exchanges, samples, the item in work; and back.

Imported when a key asks for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from nightdesk.core.logs.formats import read_log_line
from nightdesk.core.logs.progress import ProgressReader
from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemPage, ItemRow
from nightdesk.model.job import Run
from nightdesk.model.logs import LogFile, LogViewFile
from nightdesk.model.units import NS
from nightdesk.tui.asks import Ask, FilterTraffic

if TYPE_CHECKING:
    from nightdesk.tui.panes.log_deeds import LogDeeds

ROUND_NS = 30 * NS
"""Before and behind a line: the exchanges of its moment."""
AROUND_NS = 300 * NS
"""Before and behind a moment: the lines that are shown of it."""
LINES_BACK = 50
ITEM_LINES_BACK = 2_000
PAGE, PAGES_MOST = 500, 40


def moment_of(pane: LogDeeds[Any]) -> int | None:
    """When the current line was written, or the nearest line before it; the pane tells where none says so."""
    file, buffer = pane.shown_file, pane.buffer
    if file is None or buffer is None or not buffer.lines:
        return None
    at = pane.log_lines.current
    near = range(at, max(-1, at - LINES_BACK), -1)
    times = (read_log_line(buffer.lines[index], None, None, file.modified_ns or None).at_ns for index in near)
    found = next((moment for moment in times if moment is not None), None)
    if found is None:
        pane.notify("This line does not say when it was written.", markup=False)
    return found


def show_traffic(pane: LogDeeds[Any]) -> None:
    """The exchanges of the half minute before and behind the line."""
    at_ns = moment_of(pane)
    if at_ns is not None:
        since, until = (clock(at_ns + side) for side in (-ROUND_NS, ROUND_NS))
        pane.post_message(FilterTraffic(f"since:{since} until:{until}"))


def show_samples(pane: LogDeeds[Any]) -> None:
    """What the accelerators did at the moment of the line."""
    from nightdesk.tui.panes.accelerators import AcceleratorsPane
    from nightdesk.tui.screens.desk import DeskScreen

    at_ns, desk = moment_of(pane), pane.screen
    if at_ns is None or not isinstance(desk, DeskScreen):
        return
    if desk.query_one(AcceleratorsPane).show_moment(at_ns):
        desk.action_pane(AcceleratorsPane.NUMBER)
    else:
        pane.notify("The chart reaches back for twelve hours; this line is older.", markup=False)


def show_item(pane: LogDeeds[Any]) -> None:
    """The item that was in work when the line was written."""
    file, desk = pane.shown_file, pane.desk
    if file is None or desk is None:
        return
    own = pane.origin()
    run = desk.runs.get((own[0].run if own is not None else file.run) or "")
    at_ns = moment_of(pane) if run is not None else None
    if run is None or at_ns is None:
        _show_lines_of_item(pane)
        return
    _ask_items(pane, run, at_ns, 0)


def _ask_items(pane: LogDeeds[Any], run: Run, at_ns: int, offset: int) -> None:
    def answered(answer: ItemPage | NightdeskError) -> None:
        if not pane.is_mounted:
            return
        if isinstance(answer, NightdeskError):
            _show_lines_of_item(pane)
            return
        row = next((row for row in answer.rows if _was_in_work(row, at_ns)), None)
        if row is not None:
            from nightdesk.tui.screens.item import ItemDetailScreen

            pane.app.push_screen(ItemDetailScreen(run, row))
        elif offset + PAGE < min(answer.total, PAGE * PAGES_MOST):
            _ask_items(pane, run, at_ns, offset + PAGE)
        else:
            _show_lines_of_item(pane)

    pane.post_message(
        Ask(lambda engine: engine.item_page(run.id, sort="order", offset=offset, limit=PAGE), answered)
    )


def _was_in_work(row: ItemRow, at_ns: int) -> bool:
    # Lines tell whole seconds, records nanoseconds.
    return row.started_ns is not None and row.started_ns - NS < at_ns <= (row.ended_ns or at_ns) + NS


def _show_lines_of_item(pane: LogDeeds[Any]) -> None:
    """Of a batch whose items only its log knows: the lines of the item that the nearest progress line names."""
    buffer, file, own = pane.buffer, pane.shown_file, pane.origin()
    item = None
    if buffer is not None and file is not None:
        at, reader = pane.log_lines.current, ProgressReader()
        for index in range(max(0, at - ITEM_LINES_BACK), min(at + 1, len(buffer.lines))):
            if own is None or pane.scope is None or pane.scope.file_at(buffer.files[index]) == own[0]:
                reader.feed(buffer.lines[index], index)
        item = reader.progress.item if reader.progress is not None else None
    if item is None or file is None:
        pane.notify("Neither the desk nor the lines before this one name an item.", markup=False)
        return
    name = in_words(own[0] if own is not None else file)
    plain = item.replace('"', "").replace("~", " ")
    pane.show_scope(f'file:{name} item:"{plain}"')


def in_words(file: LogFile | LogViewFile) -> str:
    """How a question names a file."""
    plain = not any(sign in file.name for sign in ' "~')
    return file.name if plain else file.id


def show_moment(pane: LogDeeds[Any], at_ns: int) -> None:
    """All logs around a moment, the first line of it found."""
    from nightdesk.tui.panes.log_scope import Scope

    since, until = (clock(at_ns + side) for side in (-AROUND_NS, AROUND_NS))
    pane.scope = Scope(pane, f"since:{since} until:{until}", at_ns)
    pane.scope.ask()
    pane.redraw()


def clock(at_ns: int) -> str:
    """As queries say it."""
    return f"{datetime.fromtimestamp(at_ns / NS):%Y-%m-%dT%H:%M:%S}"
