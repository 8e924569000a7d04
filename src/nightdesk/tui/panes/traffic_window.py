"""A list of any length of which only a part is here: rows by their place, and which ones have to be asked for.

Two kinds. The *plain* list (everything, the newest first) begins with the rows that the viewer has anyway; behind
them, rows are counted from the oldest one, so that new exchanges move nothing. A *chosen* list (filtered, or in another
order) is asked for as a whole and counted from its first row. No input and output here: the pane asks and hands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar, overload

from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.inspection import ExchangePage
from nightdesk.tui.widgets.grid import Row, RowList

RowT = TypeVar("RowT")
RowT_co = TypeVar("RowT_co", covariant=True)
BLOCK = 200
"""Rows asked for at once: four screens."""
KEPT = 20_000
"""Rows that stay after they were looked at; about 20 MB."""
NEWEST_FIRST = "-started"


class Wanted(NamedTuple):
    """A part of the list to ask for."""

    query: str
    sort: str
    offset: int
    limit: int
    floor: int
    total: int | None
    """What was known when it was asked for."""


class Pending(NamedTuple):
    """Key of a line whose row is not here yet."""

    place: int


class Window:
    """The rows of one list. ``query`` is the filter as the engine takes it; ``seen`` bounds one that stands still."""

    def __init__(self, query: str = "", sort: str = NEWEST_FIRST, seen: int | None = None) -> None:
        self.query = query
        self.sort = sort
        self.seen = seen
        self.head: tuple[ExchangeRow, ...] = ()
        """Rows that stand in front without being asked for."""
        self.total: int | None = None
        """Rows behind the head; None before the first answer."""
        self._floor = 0
        self._rows: dict[int, ExchangeRow] = {}
        self._places: dict[int, int] = {}
        self._asked: set[int] = set()

    @property
    def is_plain(self) -> bool:
        """Everything, the newest first."""
        return not self.query and self.sort == NEWEST_FIRST

    def show_head(self, rows: Sequence[ExchangeRow]) -> None:
        """The newest rows that the viewer has, the newest first; what stands in for a chosen list until it comes."""
        old, self.head = self.head, tuple(rows)
        if not self.is_plain:
            return
        floor = rows[-1].id if rows else 0
        if floor == self._floor or not old:
            self._floor = floor
            return
        gone = sum(row.id < floor for row in old)
        if gone == len(old) or floor < self._floor:
            self.forget()
        elif self.total is not None:
            self._add_older([row for row in old if row.id < floor])
        self._floor = floor

    def _add_older(self, rows: list[ExchangeRow]) -> None:
        """Rows that fell out of the head stand behind it now."""
        assert self.total is not None
        for row in reversed(rows):
            self._keep(self.total, row)
            self.total += 1

    def forget(self) -> None:
        """Ask for everything again."""
        self.total = None
        self._rows.clear()
        self._places.clear()
        self._asked.clear()

    def ask_again(self) -> None:
        """The list may be another one now; what is here stays until the answer comes."""
        self._asked.clear()

    def __len__(self) -> int:
        if self.is_plain:
            return len(self.head) + (self.total or 0)
        return len(self.head) if self.total is None else self.total

    @property
    def in_front(self) -> tuple[ExchangeRow, ...]:
        """The rows that the list begins with without being asked for."""
        return self.head if self.is_plain or self.total is None else ()

    def first_missing(self, begin: int) -> int | None:
        """The first place from ``begin`` on whose row is not here."""
        return next((place for place in range(begin, len(self)) if self.row(place) is None), None)

    def row(self, place: int) -> ExchangeRow | None:
        """The row at ``place``; None where it is not here."""
        if place < len(self.head) and (self.is_plain or self.total is None):
            return self.head[place]
        return self._rows.get(self._number(place))

    def place_of(self, exchange_id: int) -> int | None:
        """Where an exchange stands; None where it is not here."""
        if self.is_plain or self.total is None:
            for place, row in enumerate(self.head):
                if row.id == exchange_id:
                    return place
        number = self._places.get(exchange_id)
        if number is None or self.total is None:
            return None
        return len(self.head) + self.total - 1 - number if self.is_plain else number

    def here(self) -> Iterator[tuple[int, ExchangeRow]]:
        """Places and rows of all that is here, in no order."""
        yield from enumerate(self.in_front)
        last = len(self.in_front) + (self.total or 0) - 1
        for number, row in self._rows.items():
            yield (last - number if self.is_plain else number), row

    def _number(self, place: int) -> int:
        """What a row is kept under: its place, of the plain list counted from the oldest."""
        return (self.total or 0) - 1 - (place - len(self.head)) if self.is_plain else place

    def wanted(self, first: int, last: int) -> Wanted | None:
        """The next part to ask for when the places from ``first`` to ``last`` are looked at."""
        if self.total is None:
            return None if -1 in self._asked else self._want(-1, 0, BLOCK)
        for place in range(max(0, first), min(last + 1, len(self))):
            if self.row(place) is None and self._number(place) // BLOCK not in self._asked:
                return self.block_of(place)
        return None

    def block_of(self, place: int) -> Wanted:
        """The part to ask for that holds ``place``, which is behind the head."""
        assert self.total is not None
        block = self._number(place) // BLOCK
        low, high = block * BLOCK, min((block + 1) * BLOCK, self.total)
        return self._want(block, self.total - high if self.is_plain else low, high - low)

    def refresh(self) -> Wanted:
        """Ask for the beginning again, to see whether the list has changed."""
        return self._want(-1, 0, BLOCK)

    def _want(self, block: int, offset: int, limit: int) -> Wanted:
        self._asked.add(block)
        return Wanted(self.asked_query, self.sort, offset, limit, self._floor, self.total)

    @property
    def asked_query(self) -> str:
        """The query that the engine is asked."""
        if self.is_plain:
            return f"id:0-{max(0, self._floor - 1)}" if self.head else ""
        return self.bounded_query

    @property
    def bounded_query(self) -> str:
        """The query of the whole list as it is shown."""
        return f"{self.query} id:0-{self.seen}".strip() if self.seen is not None else self.query

    def take(self, wanted: Wanted, page: ExchangePage) -> None:
        """Keep an answer. When the list turns out to be another than was thought, what was here is dropped."""
        grown = (self.total - wanted.total) if self.total is not None and wanted.total is not None else 0
        total = page.total + grown
        if self.is_plain and wanted.floor != self._floor and self.total is None:
            self.ask_again()
            return
        if total != self.total or (wanted.offset == 0 and self._differs(page)):
            self._rows.clear()
            self._places.clear()
            self._asked.clear()
            self.total = total
        if len(self._rows) > KEPT:
            self._rows.clear()
            self._places.clear()
            self._asked.clear()
        for place, row in enumerate(page.rows, page.offset):
            self._keep(page.total - 1 - place if self.is_plain else place, row)

    def _differs(self, page: ExchangePage) -> bool:
        if self.is_plain:
            return False
        return any(
            row.id != kept.id for place, row in enumerate(page.rows) if (kept := self._rows.get(place))
        )

    def fail(self) -> None:
        """An answer did not come; it is asked for again when it is looked at again."""
        self._asked.clear()

    def _keep(self, number: int, row: ExchangeRow) -> None:
        self._rows[number] = row
        self._places[row.id] = number


class Places(Protocol[RowT_co]):
    """A list of which only a part is here: what :class:`WindowRows` draws."""

    def __len__(self) -> int:
        """All rows."""

    def row(self, place: int, /) -> RowT_co | None:
        """The row at ``place``; None where it is not here."""

    def place_of(self, key: int, /) -> int | None:
        """Where the row with this key stands; None where it is not here."""


class WindowRows(RowList, Generic[RowT]):
    """The lines of a window, made when they are looked at. ``missed`` hears of a place whose row is not here."""

    def __init__(
        self,
        window: Places[RowT],
        make: Callable[[RowT], Row],
        blank: Callable[[int], Row],
        missed: Callable[[], None],
    ) -> None:
        self._window = window
        self._size = len(window)
        self._make = make
        self._blank = blank
        self._missed = missed
        self._made: dict[int, Row] = {}

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        """The line at ``place``."""
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(self._size))]
        if place < 0:
            place += self._size
        if not 0 <= place < self._size:
            raise IndexError(place)
        line = self._made.get(place)
        if line is None:
            row = self._window.row(place)
            if row is None:
                self._missed()
            line = self._made[place] = self._blank(place) if row is None else self._make(row)
        return line

    def place_of(self, key: object) -> int | None:
        """Where the line with this key stands; None where that is not known."""
        if isinstance(key, Pending):
            return key.place if key.place < self._size else None
        return self._window.place_of(key) if isinstance(key, int) else None
