"""Progress as a script leaves it in a file of its own: JSON, JSON Lines, or the row of a query."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from nightdesk.core.foreign import safe_line

_DONE = ("done", "completed", "processed", "finished", "current", "index", "position")
_TOTAL = ("total", "count", "items_total", "total_items", "of", "n")
_ITEM = ("item", "current_item", "file", "current_file", "name")


class State(NamedTuple):
    """How far a script says it is."""

    done: float
    total: float | None = None
    item: str | None = None


def read_state(text: str) -> State | None:
    """What a JSON document says, or the last line of JSON Lines; where lines hold no counts, each is an item done."""
    try:
        return _of(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return _of_lines(text)


def _of_lines(text: str) -> State | None:
    # A last line without its end may still be in writing.
    lines = [line for line in text[: text.rfind("\n") + 1].split("\n") if line.strip()]
    try:
        last = msgspec.json.decode(lines[-1]) if lines else None
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    if last is None:
        return None
    return _of(last) or State(len(lines), None, _item(last))


def _of(found: Any) -> State | None:
    if not isinstance(found, dict):
        return State(len(found)) if isinstance(found, list) else None
    inner = found.get("progress")
    if isinstance(inner, dict):
        found = {**found, **inner}
    done = next((amount for key in _DONE if (amount := _amount(found.get(key))) is not None), None)
    total = next((amount for key in _TOTAL if (amount := _amount(found.get(key))) is not None), None)
    if done is None or done < 0 or (total is not None and done > total):
        return None
    return State(done, total, _item(found))


def of_row(row: tuple[Any, ...]) -> State | None:
    """A row of a query: done, total and item, the last two as far as there are any."""
    done = _amount(row[0]) if row else None
    total = _amount(row[1]) if len(row) > 1 else None
    item = safe_line(str(row[2]), 200) if len(row) > 2 and row[2] is not None else None
    return State(done, total, item) if done is not None and (total is None or 0 <= done <= total) else None


def _amount(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float) and abs(value) < 1e15:
        return float(value)
    return float(len(value)) if isinstance(value, list | dict) else None


def _item(found: Any) -> str | None:
    if not isinstance(found, dict):
        return None
    value = next((found[key] for key in _ITEM if isinstance(found.get(key), str)), None)
    return safe_line(value, 200) if value else None
