"""Which exchanges the traffic pane lists: filter, order, where the user stands, and what is asked of the engine.

At most two questions are on their way at once, and each next one is about what is looked at then: whoever races
through 100,000 rows does not wait for the pages passed by.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from nightdesk.client.mirror import Mirror
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.inspection import ExchangePage, ExchangePlace, ExchangeTotals
from nightdesk.model.units import NS
from nightdesk.tui.asks import Ask
from nightdesk.tui.panes.traffic_window import Wanted, Window

if TYPE_CHECKING:
    from nightdesk.core.inspection.query import Query
    from nightdesk.tui.link import Engine

AT_ONCE = 2
REFRESH_NS = 1 * NS
RETRY_NS = 5 * NS
TOTALS_NS = 3 * NS
SHARE = 10
"""Of the time, at most a tenth is spent with the same question."""


class Listing:
    """The list of one pane. ``ask`` sends a question; ``changed`` is called when an answer changes what is listed."""

    def __init__(self, ask: Callable[[Ask], object], changed: Callable[[], None]) -> None:
        self.window = Window()
        self.fault = ""
        """Why the filter can't be read, one sentence."""
        self.totals: ExchangeTotals | None = None
        self.summed = ""
        """The query of the newest totals."""
        self.tags: set[int] = set()
        self.needle = ""
        """Text to mark in the lines."""
        self._ask = ask
        self._changed = changed
        self._query: Query | None = None
        self._looked = range(0)
        self._asking = 0
        self._summing = False
        self._revision = self._summed_revision = 0
        self._refresh_at = self._totals_at = 0
        self._cost_ns = 0
        self._is_failed = False

    # What is listed

    @property
    def is_settled(self) -> bool:
        """What is shown is all there is."""
        return self.window.total is not None or self._is_failed or self.window.is_plain

    def filter(self, text: str) -> None:
        """List what matches ``text``. A text that can't be read changes nothing but the fault."""
        from nightdesk.core.inspection.query import QueryError, parse

        text = text.strip()
        try:
            self._query = parse(text) if text else None
        except QueryError as fault:
            self.fault = f"{fault.message} {fault.hint}".strip()
            return
        self.fault = ""
        terms = self._query.terms if self._query else ()
        words = [getattr(term.condition, "text", "") for term in terms if not term.negated]
        self.needle = next((word for word in words if word), "")
        if text != self.window.query:
            self._renew(text, self.window.sort)

    def sort(self, order: str) -> None:
        """List in another order."""
        if order != self.window.sort:
            self._renew(self.window.query, order)

    def _renew(self, query: str, order: str) -> None:
        self.window = Window(query, order, None)
        self._is_failed = False

    def stand_still(self, desk: Mirror) -> None:
        """From now on new exchanges are only counted."""
        self.window.seen = max(desk.exchanges, default=0)

    def go_on(self) -> None:
        """Show new exchanges again."""
        self.window.seen = None
        self._refresh_at = 0

    def newer(self, desk: Mirror) -> int:
        """Exchanges that came since the list stands still."""
        seen = self.window.seen
        return 0 if seen is None else sum(number > seen for number in desk.exchanges)

    def update(self, desk: Mirror, now_ns: int) -> None:
        """Take in what the viewer knows now, and ask for what it does not know."""
        window = self.window
        if self._is_failed and now_ns >= self._refresh_at + RETRY_NS:
            self._is_failed = False
        if window.is_plain:
            seen = window.seen
            rows = [row for row in reversed(desk.exchanges.values()) if seen is None or row.id <= seen]
            window.show_head(rows)
        elif window.total is None:
            window.show_head(list(self._matching(desk, now_ns)))
        elif (
            window.seen is None
            and desk.revisions["exchanges"] != self._revision
            and now_ns >= self._refresh_at
        ):
            self._send(window.refresh(), desk, now_ns)
        self._sum_up(desk, now_ns)

    def _matching(self, desk: Mirror, now_ns: int) -> Iterator[ExchangeRow]:
        for row in reversed(desk.exchanges.values()):
            if self._query is None or self._query.matches(row, now_ns):
                yield row

    # Asking

    def look_at(self, places: range, desk: Mirror, now_ns: int) -> None:
        """Ask for rows in and around ``places`` that are not here."""
        self._looked = places
        around = len(places)
        while self._asking < AT_ONCE:
            wanted = None
            if len(self.window) or not self.window.is_plain:
                wanted = self.window.wanted(places.start, places.stop) or self.window.wanted(
                    places.start - around, places.stop + around
                )
            if wanted is None or self._is_failed:
                return
            self._send(wanted, desk, now_ns)

    def _send(self, wanted: Wanted, desk: Mirror, now_ns: int) -> None:
        window, began = self.window, time.monotonic_ns()
        self._asking += 1
        self._revision = desk.revisions["exchanges"]
        self._refresh_at = now_ns + max(REFRESH_NS, SHARE * self._cost_ns)

        def take(answer: ExchangePage | NightdeskError) -> None:
            self._asking -= 1
            self._cost_ns = time.monotonic_ns() - began
            if window is self.window:
                if isinstance(answer, NightdeskError):
                    window.fail()
                    self._is_failed = True
                else:
                    window.take(wanted, answer)
            self._changed()

        self._ask(Ask(lambda engine: _page(engine, wanted), take))

    # Going through the list

    def find_row(self, place: int, take: Callable[[ExchangeRow | None], None]) -> None:
        """Hand the row at ``place`` to ``take``, perhaps later; None beyond the ends."""
        window = self.window
        row = window.row(place) if 0 <= place < len(window) else None
        if row is not None or not 0 <= place < len(window):
            take(row)
            return
        wanted = window.block_of(place)

        def keep(answer: ExchangePage | NightdeskError) -> None:
            if window is self.window and not isinstance(answer, NightdeskError):
                window.take(wanted, answer)
            self._changed()
            take(window.row(place))

        self._ask(Ask(lambda engine: _page(engine, wanted), keep))

    def find_trouble(self, place: int, take: Callable[[int | None], None]) -> None:
        """Hand the first place from ``place`` on, and around, to ``take`` that has a verdict or an error."""
        known, missing = self._trouble_here(place), self.window.first_missing(place)
        if known is not None and known >= place and (missing is None or known < missing):
            take(known)
        elif missing is None:
            # Nothing more below: around, once.
            take(known) if place == 0 else self.find_trouble(0, take)
        else:
            self._ask_for_trouble(max(place, len(self.window.in_front)), place, take)

    def _trouble_here(self, place: int) -> int | None:
        """The same among the rows that are here."""
        count = len(self.window)
        wrong = [
            (at - place) % count
            for at, row in self.window.here()
            if row.verdicts or row.state in ("failed", "aborted", "incomplete")
        ]
        return (place + min(wrong)) % count if wrong else None

    def _ask_for_trouble(self, at: int, begin: int, take: Callable[[int | None], None]) -> None:
        """Ask behind ``at``; when there is nothing more, once again from the top."""
        window, front = self.window, len(self.window.in_front)
        query, order = window.asked_query, window.sort

        def look(answer: ExchangePlace | NightdeskError) -> None:
            if window is not self.window:
                return
            place = None if isinstance(answer, NightdeskError) else answer.place
            if place is not None:
                take(place + front)
            elif begin:
                self.find_trouble(0, take)
            else:
                # The engine looks at ended ones; an alarm of a running one stands in its row.
                take(self._trouble_here(0))

        self._ask(Ask(lambda engine: engine.trouble(query, sort=order, offset=at - front), look))

    # Totals

    @property
    def selection(self) -> str:
        """The query of what is summed up: the tagged ones, or the whole list."""
        if self.tags:
            return f"id:{','.join(str(number) for number in sorted(self.tags))}"
        return self.window.bounded_query

    def _sum_up(self, desk: Mirror, now_ns: int) -> None:
        query, revision = self.selection, desk.revisions["exchanges"]
        is_new = query != self.summed or self.totals is None
        is_due = revision != self._summed_revision and now_ns >= self._totals_at
        if self._summing or not desk.exchanges or not (is_new or is_due):
            return
        began = time.monotonic_ns()
        self._summing, self._summed_revision = True, revision
        self._totals_at = now_ns + TOTALS_NS

        def take(answer: ExchangeTotals | NightdeskError) -> None:
            self._summing = False
            self._totals_at = max(self._totals_at, now_ns + SHARE * (time.monotonic_ns() - began))
            self.summed = query
            self.totals = answer if isinstance(answer, ExchangeTotals) else self.totals
            self._changed()

        self._ask(Ask(lambda engine: engine.totals(query), take))


def _page(engine: Engine, wanted: Wanted) -> Awaitable[ExchangePage]:
    return engine.page(wanted.query, sort=wanted.sort, offset=wanted.offset, limit=wanted.limit)


def known_values(desk: Mirror) -> dict[str, tuple[str, ...]]:
    """The values that occur in the newest exchanges, by key of the filter."""
    found: dict[str, dict[str, None]] = {}
    for row in reversed(desk.exchanges.values()):
        pairs = (
            ("model", row.model),
            ("job", row.job),
            ("item", row.item),
            ("run", row.run),
            ("path", row.path),
            ("process", row.process),
            ("reason", row.done_reason),
            *(("verdict", kind) for kind in row.verdicts),
        )
        for key, value in pairs:
            if value:
                found.setdefault(key, {})[value] = None
    return {key: tuple(values) for key, values in found.items()}
