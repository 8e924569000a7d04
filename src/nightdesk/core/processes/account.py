"""One process in words: facts with their names, then what is below it and open. For viewer and command alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from nightdesk.model.inspected import ProcessDetail
from nightdesk.model.units import UNKNOWN, format_bytes, format_percent

LINES_MOST = 30
"""Files, sockets and children that are listed."""

Mood = Literal["", "warn", "accent", "muted", "faint"]


class Fact(NamedTuple):
    """A name, what is to be said, and how much it matters."""

    name: str
    words: str
    mood: Mood = ""


class Line(NamedTuple):
    """One thing that the process has: what stands in front, the thing itself, what stands behind."""

    front: str
    text: str
    rest: str = ""


def facts_of(detail: ProcessDetail, began: str) -> Iterator[Fact]:
    """The most asked for first; what this user may not see with the reason. ``began`` is the moment in words."""
    row = detail.row
    if row.orphan_reason:
        yield Fact("orphan", row.orphan_reason, "warn")
    waits = detail.waits_for
    yield _told(detail, "does", "waits_for", waits, "warn" if waits and "can't be" in waits else "")
    yield Fact("command", row.command)
    yield Fact("uses", _use(detail))
    yield _belongs(detail)
    if row.ports:
        yield Fact("listens", "port " + ", ".join(map(str, row.ports)), "accent")
    yield Fact("began", began)
    parent = f"{row.ppid}" + (f" {detail.parent}" if detail.parent else "")
    threads = UNKNOWN if row.threads is None else row.threads
    yield Fact("user", f"{row.user}   parent {parent}   state {row.state}   threads {threads}")
    yield _told(detail, "program", "program", detail.program)
    yield _told(detail, "folder", "folder", detail.folder)


def _use(detail: ProcessDetail) -> str:
    row = detail.row
    words = [f"cpu {format_percent(row.cpu_ratio)}", f"memory {format_bytes(row.rss_bytes)}"]
    if detail.swap_bytes:
        words.append(f"swapped out {format_bytes(detail.swap_bytes)}")
    if row.device_bytes is not None:
        words.append(f"accelerators {format_bytes(row.device_bytes)}")
    if detail.read_bytes is not None:
        words.append(
            f"disk read {format_bytes(detail.read_bytes)}, written {format_bytes(detail.written_bytes)}"
        )
    return "   ".join(words)


def _belongs(detail: ProcessDetail) -> Fact:
    row, marks = detail.row, detail.markers
    names = {name.removeprefix("NIGHTDESK_").lower(): value for name, value in marks.items()}
    known = ("job", "run", "item", "attempt", *(("desk",) if row.desk else ()))
    said = "   ".join(f"{name} {names[name]}" for name in known if name in names)
    if said:
        return Fact("for", said, "accent")
    if row.part:
        return Fact("for", f"Nightdesk itself: {row.part}", "muted")
    if "markers" in detail.unknown:
        return _told(detail, "for", "markers", None)
    return Fact("for", f"{row.owner}, its environment names no run", "muted")


def _told(detail: ProcessDetail, name: str, field: str, value: str | None, mood: Mood = "") -> Fact:
    if value:
        return Fact(name, value, mood)
    return Fact(name, f"{UNKNOWN} {detail.unknown.get(field, '')}".rstrip(), "faint")


def lists_of(detail: ProcessDetail) -> Iterator[tuple[str, list[Line]]]:
    """Title and lines of what it has: children, sockets, files."""
    yield (
        f"{len(detail.children)} below it",
        [
            Line(
                f"{member.key.pid:>7}  {format_bytes(member.rss_bytes):>8}  ",
                "  " * min(member.depth - 1, 12) + (member.command or member.name),
            )
            for member in detail.children
        ],
    )
    yield (
        _titled(detail, "sockets", detail.sockets_total),
        [
            Line(
                f"{each.kind}  ",
                each.local + (f" → {each.remote}" if each.remote else ""),
                f"  {each.state or ''}",
            )
            for each in detail.sockets
        ],
    )
    yield (
        _titled(detail, "files", detail.files_total),
        [
            Line(
                f"{'' if each.descriptor is None else each.descriptor:>4}  ",
                each.path,
                f"  {format_bytes(each.size_bytes)}",
            )
            for each in detail.files
        ],
    )


def _titled(detail: ProcessDetail, name: str, total: int | None) -> str:
    if total is None:
        return f"{name}: {UNKNOWN} {detail.unknown.get(name, '')}"
    return f"{total} {'open ' if name == 'files' else ''}{name if total != 1 else name[:-1]}"
