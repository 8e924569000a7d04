"""The items of a run, of which only those are here that were looked at. Rows are asked for in blocks.

When the run moves on, what is here stays until the new rows come; only blocks that are looked at are asked for again.
No input and output here: the screen asks and hands in.
"""

from __future__ import annotations

from typing import NamedTuple

from nightdesk.model.items import ItemPage, ItemRow, ItemStage

BLOCK = 200
KEPT = 20_000


class Wanted(NamedTuple):
    """A part of the list to ask for."""

    state: str
    text: str
    sort: str
    offset: int
    limit: int


class ItemWindow:
    """One list: these states (empty: all), these words, this order."""

    def __init__(self, state: str = "", text: str = "", sort: str = "index") -> None:
        self.state = state
        self.text = text
        self.sort = sort
        self.total: int | None = None
        """None before the first answer."""
        self.counts: dict[ItemStage, int] = {}
        self._rows: dict[int, ItemRow] = {}
        self._places: dict[int, int] = {}
        self._fresh: set[int] = set()

    def __len__(self) -> int:
        return self.total or 0

    def row(self, place: int) -> ItemRow | None:
        """The row at ``place``; None where it is not here."""
        return self._rows.get(place)

    def place_of(self, index: int) -> int | None:
        """Where an item stands, by its place in the run; None where it is not here."""
        return self._places.get(index)

    def moved_on(self) -> None:
        """The run has changed: everything is asked for again once it is looked at."""
        self._fresh.clear()

    def wanted(self, first: int, last: int) -> Wanted | None:
        """The next part to ask for when these places are looked at; None where all of it is on its way or here."""
        last = min(last, max(0, len(self) - 1))
        for block in range(max(0, first) // BLOCK, max(0, last) // BLOCK + 1):
            if block not in self._fresh:
                self._fresh.add(block)
                return Wanted(self.state, self.text, self.sort, block * BLOCK, BLOCK)
        return None

    def take(self, page: ItemPage) -> None:
        """Keep an answer."""
        if page.total != self.total or len(self._rows) > KEPT:
            self._rows.clear()
            self._places.clear()
            self._fresh &= {page.offset // BLOCK}
        self.total, self.counts = page.total, page.counts
        for place, row in enumerate(page.rows, page.offset):
            self._rows[place] = row
            self._places[row.index] = place

    def failed(self) -> None:
        """An answer did not come."""
        self._fresh.clear()
