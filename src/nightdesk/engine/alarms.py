"""Verdicts while the engine works: judges ended exchanges, watches running ones, remembers what they taught."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from nightdesk.core.verdicts import Known, Thresholds, Watcher, thresholds_of, verdicts_of
from nightdesk.model.config import VerdictsSection
from nightdesk.model.desk import ModelServer
from nightdesk.model.exchange import Exchange, ExchangeGrew, Verdict


class Judge:
    """Used from the event loop only. ``section`` and ``servers`` give configuration and servers as they are now,
    ``past`` some ended exchanges from before, so that a new engine knows what is usual. It is asked once, late.
    """

    def __init__(
        self,
        section: Callable[[], VerdictsSection] = VerdictsSection,
        servers: Callable[[], tuple[ModelServer, ...]] = tuple,
        past: Callable[[], Iterable[Exchange]] = tuple,
    ) -> None:
        self._section = section
        self._servers = servers
        self._past: Callable[[], Iterable[Exchange]] | None = past
        self._read: VerdictsSection | None = None
        self._limits: Thresholds | None = None
        self._known = Known()
        self._watchers: dict[int, Watcher] = {}
        self._alarms: dict[int, tuple[Verdict, ...]] = {}

    @property
    def limits(self) -> Thresholds:
        """The thresholds in force; read again when the configuration was replaced."""
        section = self._section()
        if self._limits is None or section is not self._read:
            self._read, self._limits = section, thresholds_of(section)
        return self._limits

    def _remember(self) -> None:
        """Learn from the exchanges of before; not at the start, which waits for nothing."""
        past, self._past = self._past, None
        for exchange in sorted(past() if past else (), key=lambda one: one.ended_ns or one.started_ns):
            self._learn(exchange)

    def _learn(self, exchange: Exchange) -> None:
        if exchange.replay_of is None:
            self._known.learn(exchange, self.limits.reload_ns)

    def _ask_servers(self) -> None:
        """Which contexts the servers gave to the models that they hold."""
        for server in self._servers():
            for model in server.models:
                if model.context is not None:
                    self._known.set_context(model.name, model.context, server.at_ns)

    def begun(self, exchange: Exchange, quote: bool) -> None:
        """Watch a running exchange, or know one better that is watched. With all its content."""
        self._remember()
        watcher = self._watchers.get(exchange.id)
        if watcher is None:
            self._watchers[exchange.id] = Watcher(exchange, self.limits, self._known, quote=quote)
        else:
            watcher.replace(exchange)

    def grew(self, exchange_id: int, line: ExchangeGrew) -> None:
        """Take in new text."""
        watcher = self._watchers.get(exchange_id)
        if watcher:
            watcher.feed(line.at_ns, line.text, line.thinking, line.first_token_ns)

    def ended(self, exchange: Exchange, quote: bool) -> Exchange:
        """The exchange with its verdicts. Without ``quote`` they hold no word of its content."""
        self._watchers.pop(exchange.id, None)
        self._alarms.pop(exchange.id, None)
        self._remember()
        self._ask_servers()
        verdicts = verdicts_of(exchange, self.limits, self._known, quote=quote)
        self._learn(exchange)
        return msgspec.structs.replace(exchange, verdicts=verdicts) if verdicts else exchange

    def alarms(self, exchange_id: int) -> tuple[Verdict, ...]:
        """The alarms of a running exchange, as of the last look."""
        return self._alarms.get(exchange_id, ())

    def look(self, now_ns: int) -> list[int]:
        """Look at all running exchanges; the ids of those whose alarms differ from before, in kind."""
        changed = []
        for exchange_id, watcher in self._watchers.items():
            before = self._alarms.get(exchange_id, ())
            now = watcher.look(now_ns)
            if [one.kind for one in now] != [one.kind for one in before]:
                changed.append(exchange_id)
            if now:
                self._alarms[exchange_id] = now
            else:
                self._alarms.pop(exchange_id, None)
        return changed
