"""Where the time of many exchanges went: sums over rows that come in the order in which they began.

Memory does not grow with the number of rows: groups, clients and leaders are bounded. Exchanges may overlap; the sum of
their durations and the time on the clock that they cover are told apart. Where the figures ask for a reason that a row
does not hold (``keep_alive``, the text of prompts), :meth:`Profiler.questions` names the few exchanges to look at.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from nightdesk.core.inspection.profile_advice import Evidence, advise
from nightdesk.core.inspection.profile_parts import INFERENCE, split_parts
from nightdesk.core.inspection.query import quoted
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.profile import PARTS, Finding, Leader, Parts, Profile, ProfileGroup

LOAD_NS = 500 * 10**6
"""A model that is in memory answers "load" in some 10 ms; beyond this it was really loaded."""
BREAK_NS = 600 * 10**9
"""A process or connection that is silent for longer is not at work; a run always is."""
GROUPS_MOST = 200
CLIENTS_MOST = 4096
LEADERS = 5
SAMPLES = 12
"""Exchanges of each kind of question that are looked at whole."""
PREFIX_TOKENS = 500
PREFIX_NS = 200 * 10**6
"""Prompts that are shorter, or evaluated faster, are not worth a question."""
LENGTH_REASONS = frozenset({"length", "max_tokens"})
TROUBLE = frozenset({"failed", "aborted"})
PART_NAMES = tuple(f"{part}_ns" for part in PARTS)
NUMBERS = (
    *PART_NAMES,
    *("count", "running", "errors", "covered_ns", "pause_ns", "client_ns", "switch_ns", "loads", "switches"),
    *("prompt_tokens", "reply_tokens", "timed_prompt_tokens", "timed_prompt_ns", "timed_reply_tokens"),
    *("timed_reply_ns", "replies", "length_cuts", "energy_mj", "energy_count", "energy_tokens"),
)
"""What is added up in each group."""

Key = tuple[str, str]
Pair = tuple[int, int]
"""Ids, the earlier first."""
T = TypeVar("T")


class _Greatest(Generic[T]):
    """The greatest so many of all that were offered; of equal ones the newer. ``held``: (value, id, what is held)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, int]] = []
        self._held: dict[int, T] = {}

    def wants(self, value: int, number: int) -> bool:
        """Whether it is great enough."""
        return len(self._heap) < self._most or (value, number) > self._heap[0]

    def offer(self, value: int, number: int, held: T) -> None:
        """Take it in if it is great enough."""
        if not self.wants(value, number):
            return
        if len(self._heap) == self._most:
            del self._held[heapq.heappop(self._heap)[1]]
        heapq.heappush(self._heap, (value, number))
        self._held[number] = held

    def ordered(self) -> tuple[T, ...]:
        """The greatest first."""
        return tuple(self._held[number] for _, number in sorted(self._heap, key=lambda at: (-at[0], at[1])))


@dataclass(slots=True)
class _Client:
    """What is remembered of a client: until when it waits for answers, and its newest prompt."""

    busy_until_ns: int
    newest: ExchangeRow | None = None


@dataclass(slots=True)
class _Server:
    """The newest inference of a server."""

    exchange: int
    model: str | None


@dataclass(slots=True)
class _Sums:
    """A group in the making."""

    numbers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NUMBERS, 0))
    findings: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    covered_until_ns: int = 0
    slowest: Leader | None = None
    biggest: Leader | None = None
    first_ns: int = 0
    last_ns: int = 0

    def add(self, row: ExchangeRow, end_ns: int, added: Mapping[str, int]) -> None:
        """Add what is the same for every group, and what depends on the rows of this one."""
        numbers = self.numbers
        for name, value in added.items():
            numbers[name] += value
        if end_ns > self.covered_until_ns:
            numbers["covered_ns"] += end_ns - max(row.started_ns, self.covered_until_ns)
            self.covered_until_ns = end_ns
        self.first_ns = min(self.first_ns or row.started_ns, row.started_ns)
        self.last_ns = max(self.last_ns, end_ns)
        if self.slowest is None or end_ns - row.started_ns > self.slowest.value:
            self.slowest = _leader(row, end_ns - row.started_ns, "ns")
        if (tokens := tokens_of(row)) and (self.biggest is None or tokens > self.biggest.value):
            self.biggest = _leader(row, tokens, "tokens")
        for kind in set(row.verdicts):
            count, took, example = self.findings.get(kind, (0, 0, 0))
            self.findings[kind] = count + 1, took + end_ns - row.started_ns, max(example, row.id)


class Profiler:
    """Add rows in the order in which they began, look up what :meth:`questions` names, then :meth:`finish`."""

    def __init__(
        self, now_ns: int, query: str = "", joules: Callable[[int], float | None] = lambda _: None
    ) -> None:
        """``now_ns``: running exchanges are counted until now. ``query`` selects the counted rows in a list.

        ``joules`` gives the energy of an exchange by its id, None where it was not measured.
        """
        self._joules = joules
        self._now_ns = now_ns
        self._query = query
        self._total = _Sums()
        self._models: dict[str | None, _Sums] = {}
        self._jobs: dict[str | None, _Sums] = {}
        self._clients: OrderedDict[Key, _Client] = OrderedDict()
        self._servers: dict[str | None, _Server] = {}
        self._slowest: _Greatest[Leader] = _Greatest(LEADERS)
        self._biggest: _Greatest[Leader] = _Greatest(LEADERS)
        self._repeats: _Greatest[Pair] = _Greatest(SAMPLES)
        self._reloads: _Greatest[Pair] = _Greatest(SAMPLES)
        self._cuts: deque[int] = deque(maxlen=SAMPLES)
        self._cold: dict[str, tuple[int, int]] = {}
        """By model: (nanoseconds, tokens) of prompts that no cache can have helped."""
        self._replays = 0
        self._merged: set[str] = set()

    def add(self, row: ExchangeRow, *, counted: bool = True) -> None:
        """Take in a row. One that is not ``counted`` only says that its client was busy, and its server's model."""
        if row.replay_of is not None:
            self._replays += counted
            self._used(row)
            return
        end_ns = max(row.started_ns, row.ended_ns if row.ended_ns is not None else self._now_ns)
        pause_ns, waited_ns, before = self._client(row, end_ns)
        last = self._used(row)
        if not counted:
            return
        loaded = (row.load_ns or 0) >= LOAD_NS
        switched = loaded and last is not None and last.model not in (None, row.model)
        added = {
            **split_parts(row, end_ns - row.started_ns),
            **_numbers_of(row),
            **_energy_of(row, self._joules(row.id)),
            "pause_ns": pause_ns,
            "client_ns": waited_ns,
            "switch_ns": (row.load_ns or 0) if switched else 0,
            "loads": loaded,
            "switches": switched,
        }
        added = {name: value for name, value in added.items() if value}
        for sums in (self._total, self._group(self._models, row.model), self._group(self._jobs, row.job)):
            sums.add(row, end_ns, added)
        if loaded or last is None:
            self._note_cold(row)
        self._remember(row, end_ns, before, last if loaded and not switched else None)

    def _note_cold(self, row: ExchangeRow) -> None:
        """Behind a load nothing is cached."""
        if row.model and row.prompt_ns and row.prompt_tokens and (row.prompt_tokens >= PREFIX_TOKENS):
            spent, tokens = self._cold.get(row.model, (0, 0))
            if tokens or len(self._cold) < GROUPS_MOST:
                self._cold[row.model] = spent + row.prompt_ns, tokens + row.prompt_tokens

    def _client(self, row: ExchangeRow, end_ns: int) -> tuple[int, int, ExchangeRow | None]:
        """(pause before, time that the client waited without waiting already, its row before)."""
        key = client_of(row)
        if key is None:
            return 0, end_ns - row.started_ns, None
        client = self._clients.get(key)
        if client is None:
            self._clients[key] = _Client(end_ns, row)
            if len(self._clients) > CLIENTS_MOST:
                self._clients.popitem(last=False)
            return 0, end_ns - row.started_ns, None
        self._clients.move_to_end(key)
        gap = max(0, row.started_ns - client.busy_until_ns)
        waited = max(0, end_ns - max(row.started_ns, client.busy_until_ns))
        before, client.newest = client.newest, row
        client.busy_until_ns = max(client.busy_until_ns, end_ns)
        return (gap if gap <= BREAK_NS or key[0] == "run" else 0), waited, before

    def _used(self, row: ExchangeRow) -> _Server | None:
        """The newest inference of the row's server before this one."""
        if row.operation not in INFERENCE or row.model is None:
            return None
        last = self._servers.get(row.server_addr)
        if last is not None or len(self._servers) < GROUPS_MOST:
            self._servers[row.server_addr] = _Server(row.id, row.model)
        return last

    def _group(self, groups: dict[str | None, _Sums], name: str | None) -> _Sums:
        if name is not None and name not in groups and len(groups) >= GROUPS_MOST:
            if len(self._merged) < GROUPS_MOST:
                self._merged.add(name[:200])
            name = None
        sums = groups.get(name)
        if sums is None:
            sums = groups[name] = _Sums()
        return sums

    def _remember(
        self, row: ExchangeRow, end_ns: int, before: ExchangeRow | None, same: _Server | None
    ) -> None:
        """Leaders, and what might be asked about later."""
        took_ns, tokens = end_ns - row.started_ns, tokens_of(row)
        if self._slowest.wants(took_ns, row.id):
            self._slowest.offer(took_ns, row.id, _leader(row, took_ns, "ns"))
        if tokens and self._biggest.wants(tokens, row.id):
            self._biggest.offer(tokens, row.id, _leader(row, tokens, "tokens"))
        if row.done_reason in LENGTH_REASONS:
            self._cuts.append(row.id)
        if same is not None:
            self._reloads.offer(row.load_ns or 0, row.id, (same.exchange, row.id))
        if before is not None and repeats_prompt(before, row):
            self._repeats.offer(row.prompt_ns or 0, row.id, (before.id, row.id))

    def questions(self) -> tuple[int, ...]:
        """Ids of the exchanges that :meth:`finish` would like to see whole."""
        pairs = (*self._repeats.ordered(), *self._reloads.ordered())
        return tuple(sorted({number for pair in pairs for number in pair} | set(self._cuts)))

    def finish(self, known: Mapping[int, Exchange] = {}) -> Profile:
        """The profile. ``known``: exchanges that were asked for, as far as there are any."""
        total = self._finished(None, self._total, "")
        evidence = Evidence(
            known=known,
            cuts=tuple(self._cuts),
            reloads=self._reloads.ordered(),
            repeats=self._repeats.ordered(),
            cold={model: spent / tokens for model, (spent, tokens) in self._cold.items()},
            switch_ns=self._total.numbers["switch_ns"],
        )
        models = self._groups(self._models, "model")
        return Profile(
            query=self._query,
            at_ns=self._now_ns,
            total=total,
            models=models,
            jobs=self._groups(self._jobs, "job"),
            slowest=self._slowest.ordered(),
            biggest=self._biggest.ordered(),
            advice=advise(total, models, evidence),
            replays=self._replays,
            merged=len(self._merged),
        )

    def _groups(self, groups: Mapping[str | None, _Sums], key: str) -> tuple[ProfileGroup, ...]:
        made = [self._finished(name, sums, _term(key, name)) for name, sums in groups.items()]
        return tuple(sorted(made, key=lambda group: (-group.parts.total_ns, -group.count, group.name or "")))

    def _finished(self, name: str | None, sums: _Sums, term: str) -> ProfileGroup:
        numbers = sums.numbers
        found = [
            Finding(kind=kind, count=count, took_ns=took, example=example)
            for kind, (count, took, example) in sums.findings.items()
        ]
        return ProfileGroup(
            name=name,
            query=f"{self._query} {term}".strip(),
            parts=Parts(**{part: numbers[part] for part in PART_NAMES}),
            prompt_rate=_rate(numbers["timed_prompt_tokens"], numbers["timed_prompt_ns"]),
            reply_rate=_rate(numbers["timed_reply_tokens"], numbers["timed_reply_ns"]),
            slowest=sums.slowest,
            biggest=sums.biggest,
            findings=tuple(sorted(found, key=lambda each: (-each.count, each.kind))),
            first_ns=sums.first_ns,
            last_ns=sums.last_ns,
            **{same: numbers[same] for same in _SAME_NAMES},
        )


_SAME_NAMES = tuple(name for name in NUMBERS if name in ProfileGroup.__struct_fields__)


def _energy_of(row: ExchangeRow, joules: float | None) -> dict[str, int]:
    if joules is None:
        return {}
    tokens = row.reply_tokens or 0
    return {"energy_mj": round(joules * 1000), "energy_count": 1, "energy_tokens": tokens}


def profile(rows: Iterable[ExchangeRow], now_ns: int, query: str = "") -> Profile:
    """The profile of rows in the order in which they began, without looking into any exchange."""
    profiler = Profiler(now_ns, query)
    for row in rows:
        profiler.add(row)
    return profiler.finish()


def client_of(row: ExchangeRow) -> Key | None:
    """What ties exchanges of one client: its run, else its process, else its connection; None if nothing is known."""
    if row.run is not None:
        return "run", row.run
    if row.pid is not None:
        return "process", f"{row.pid} {row.process}"
    return ("connection", row.client_addr) if row.client_addr else None


def tokens_of(row: ExchangeRow) -> int:
    """Tokens in both directions, as far as the server counted them."""
    return (row.prompt_tokens or 0) + (row.reply_tokens or 0)


def _leader(row: ExchangeRow, value: int, unit: Literal["ns", "tokens"]) -> Leader:
    return Leader(exchange=row.id, value=value, unit=unit, model=row.model, job=row.job, item=row.item)


def repeats_prompt(before: ExchangeRow, row: ExchangeRow) -> bool:
    """Whether it is worth a look if ``row`` evaluates again what ``before``, of the same client, has just brought."""
    return (
        before.model == row.model
        and before.operation == row.operation
        and before.server_addr == row.server_addr
        and (row.load_ns or 0) < LOAD_NS
        and all(
            (one.prompt_tokens or 0) >= PREFIX_TOKENS and (one.prompt_ns or 0) >= PREFIX_NS
            for one in (before, row)
        )
    )


def _numbers_of(row: ExchangeRow) -> dict[str, int]:
    """What a row adds to the numbers of each of its groups."""
    is_reply = row.operation in ("chat", "generate") and row.state != "running"
    added = {
        "count": 1,
        "running": row.state == "running",
        "errors": row.state in TROUBLE,
        "prompt_tokens": row.prompt_tokens or 0,
        "reply_tokens": row.reply_tokens or 0,
        "replies": is_reply,
        "length_cuts": is_reply and row.done_reason in LENGTH_REASONS,
    }
    if row.prompt_tokens and row.prompt_ns:
        added |= {"timed_prompt_tokens": row.prompt_tokens, "timed_prompt_ns": row.prompt_ns}
    if row.reply_tokens and row.generation_ns:
        added |= {"timed_reply_tokens": row.reply_tokens, "timed_reply_ns": row.generation_ns}
    return added


def _rate(tokens: int, spent_ns: int) -> float | None:
    return tokens * 1e9 / spent_ns if tokens and spent_ns else None


def _term(key: str, name: str | None) -> str:
    return f"-{key}:*" if name is None else f"{key}:{quoted('=' + name)}"
