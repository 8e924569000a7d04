"""The language in which a list of processes is filtered: ``name:python owner:orphan port:11434 cpu>50 mem>1gb``.

Terms are joined by *and*; ``-`` in front of a term negates it; ``key:a,b`` lists alternatives. Other words are looked
for in number, name, command, owner, job and user, as they are typed, with the blanks between them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nightdesk.core.foreign import safe_line
from nightdesk.core.inspection.completion import Suggestion
from nightdesk.core.inspection.query import QueryError
from nightdesk.core.moments import read_span_ns
from nightdesk.model.process import ProcessRow

_OWNERS = ("run", "watched", "service", "orphan", "other")
_STATES = {
    "running": "R",
    "sleeping": "S",
    "disk": "D",
    "stopped": "T",
    "paused": "T",
    "zombie": "Z",
    "idle": "I",
}

TEXT_KEYS: dict[str, tuple[str, Callable[[ProcessRow], str]]] = {
    "name": ("name or command line", lambda row: f"{row.name} {row.command}"),
    "user": ("whose it is", lambda row: row.user),
    "job": ("job of its run", lambda row: row.job or ""),
    "run": ("its run", lambda row: row.run or ""),
    "owner": (", ".join(_OWNERS), lambda row: row.owner),
    "desk": ("folder of the other desk that began it", lambda row: row.desk or ""),
    "state": (", ".join(dict.fromkeys(_STATES)), lambda row: row.state),
    "pid": ("its number", lambda row: str(row.key.pid)),
    "ppid": ("process ID of its parent", lambda row: str(row.ppid)),
    "port": ("TCP port that it listens on; * for any", lambda row: " ".join(map(str, row.ports))),
}
"""Key → what it means, and what is compared."""
_EXACT = frozenset({"pid", "ppid", "port", "owner", "state", "user"})

MEASURES: dict[str, tuple[str, str, Callable[[ProcessRow, int], float | None]]] = {
    "cpu": ("share", "share of a core in percent: >50", lambda row, _: _hundred(row.cpu_ratio)),
    "mem": ("size", "memory: >1gb", lambda row, _: row.rss_bytes),
    "gpu": ("size", "memory on accelerators: >1gb", lambda row, _: row.device_bytes),
    "age": ("time", "since it began: >1h", lambda row, now_ns: now_ns - row.key.started_ns),
    "threads": ("count", "threads: >50", lambda row, _: row.threads),
}
"""Key → unit, what it means, and the measured value; None is unknown and never matches."""
_EXAMPLES = {"share": "50", "size": "1gb", "time": "1h", "count": "50"}
_FACTORS = {
    "share": {"": 1.0, "%": 1.0},
    "count": {"": 1.0, "k": 1e3},
    "size": {"": 1.0, "b": 1.0, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9},
}
_TERM = re.compile(r'(?:"[^"]*"?|[^\s"])+')
_KEYED = re.compile(r"([a-z]+):(.*)", re.DOTALL)
_COMPARED = re.compile(r"([a-z]+):?(>=|<=|>|<)(.*)", re.DOTALL)
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z%]*)")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, amount: value > amount,
    "<": lambda value, amount: value < amount,
    ">=": lambda value, amount: value >= amount,
    "<=": lambda value, amount: value <= amount,
}

Test = Callable[[ProcessRow, int], bool]


@dataclass(frozen=True, slots=True)
class ProcessQuery:
    """A read filter. Without tests it matches everything."""

    tests: tuple[Test, ...] = ()
    words: str = ""
    """What is looked for as it stands, to be marked in the list."""

    def matches(self, row: ProcessRow, now_ns: int) -> bool:
        """Whether a process matches."""
        return all(test(row, now_ns) for test in self.tests)


def parse(text: str) -> ProcessQuery:
    """The filter that ``text`` says; empty text matches everything. Raises QueryError at the first fault."""
    tests: list[Test] = []
    words: list[str] = []
    rest = text
    for match in reversed(list(_TERM.finditer(text))):
        test = _read_term(match.group(), match.start())
        if test is not None:
            tests.insert(0, test)
            rest = rest[: match.start()] + rest[match.end() :]
    # Blanks at the ends mean something as long as plain words stand there alone.
    plain = rest if not tests else " ".join(rest.split())
    if plain.strip():
        words.append(plain.replace('"', "").casefold())
        needle = words[0]
        tests.append(lambda row, _: needle in _everything(row))
    return ProcessQuery(tuple(tests), words[0] if words else "")


def _read_term(token: str, start: int) -> Test | None:
    """The test that a term says; None for a plain word."""
    negated = token.startswith("-") and len(token) > 1
    bare = token[negated:].lower()
    test = _read_bare(bare, start + negated)
    if test is None:
        return None if not negated else (lambda row, _: bare.strip('"') not in _everything(row))
    return (lambda row, now_ns: not test(row, now_ns)) if negated else test


def _read_bare(token: str, start: int) -> Test | None:
    if token.startswith('"'):
        return None
    if (compared := _COMPARED.fullmatch(token)) and (compared[1] in MEASURES or ":" not in token):
        return _read_comparison(compared[1], compared[2], compared[3], start, token)
    keyed = _KEYED.fullmatch(token)
    if keyed is None or keyed[2].startswith("//"):
        return None
    if keyed[1] in MEASURES:
        raise _fault(
            f"{keyed[1]}: needs a comparison.", f"Write for example {_example(keyed[1])}.", start, token
        )
    if keyed[1] not in TEXT_KEYS:
        raise _unknown(keyed[1], start, token)
    return _read_values(keyed[1], keyed[2], start, token)


def _read_values(key: str, rest: str, start: int, token: str) -> Test:
    values = [value.strip('"') for value in rest.split(",")]
    if not all(values):
        raise _fault(f"{key}: lacks a value.", f"Write for example {_example(key)}.", start, token)
    if key == "owner" and (wrong := next((each for each in values if each not in _OWNERS), None)):
        raise _fault(f"{safe_line(wrong, 40)} is no owner.", f"Known: {', '.join(_OWNERS)}.", start, token)
    if key == "state":
        values = [_STATES.get(value, value.upper()) for value in values]
    told = TEXT_KEYS[key][1]
    if values == ["*"]:
        return lambda row, _: bool(told(row))
    if key == "port":
        wanted = set(values)
        return lambda row, _: not wanted.isdisjoint(told(row).split())
    if key in _EXACT:
        return lambda row, _: told(row) in values
    return lambda row, _: any(value in told(row).casefold() for value in values)


def _read_comparison(key: str, sign: str, amount: str, start: int, token: str) -> Test:
    if key not in MEASURES:
        raise _unknown(key, start, token)
    unit, _, measured = MEASURES[key]
    value = read_span_ns(amount) if unit == "time" else _read_amount(amount, unit)
    if value is None:
        said = f"{safe_line(token, 60)} lacks an amount that can be read."
        raise _fault(said, f"Write for example {_example(key)}.", start, token)
    holds, limit = _SIGNS[sign], value
    return lambda row, now_ns: (found := measured(row, now_ns)) is not None and holds(found, limit)


def _read_amount(text: str, unit: str) -> float | None:
    match = _AMOUNT.fullmatch(text)
    factor = _FACTORS[unit].get(match[2]) if match else None
    return float(match[1]) * factor if match and factor else None


def _example(key: str) -> str:
    if key in MEASURES:
        return f"{key}>{_EXAMPLES[MEASURES[key][0]]}"
    return {"owner": "owner:orphan", "port": "port:11434", "state": "state:zombie"}.get(key, f"{key}:value")


def _fault(message: str, hint: str, start: int, token: str) -> QueryError:
    return QueryError(message, hint, start, start + len(token))


def _unknown(word: str, start: int, token: str) -> QueryError:
    known = (*TEXT_KEYS, *MEASURES)
    near = difflib.get_close_matches(word, known, 1, 0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    return _fault(f"{safe_line(word, 40)} is no key.", f"{hint}Known: {', '.join(known)}.", start, token)


def _everything(row: ProcessRow) -> str:
    ports = " ".join(f":{port}" for port in row.ports)
    whose = f"{row.owner} {row.job or ''} {row.part or ''} {row.desk or ''} {row.user}"
    return f"{row.key.pid} {row.name} {row.command} {whose} {ports}".casefold()


def _hundred(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio


def complete(text: str, cursor: int, rows: Iterable[ProcessRow]) -> tuple[Suggestion, ...]:
    """What may stand at the cursor: keys, then the values that occur among ``rows``."""
    fragment = text[:cursor].rpartition(" ")[2]
    typed = fragment.removeprefix("-").lower()
    start = cursor - len(typed)
    key, colon, part = typed.partition(":")
    if colon and key in TEXT_KEYS:
        values = _occurring(key, rows)
        found = [value for value in values if part in value.lower() and value.lower() != part]
        place = start + len(key) + 1
        return tuple(Suggestion(value, place, cursor, "") for value in found[:12])
    if not typed:
        return ()
    named = [(f"{name}:", about) for name, (about, _) in TEXT_KEYS.items()]
    named += [(f"{name}>", about) for name, (_, about, _) in MEASURES.items()]
    return tuple(
        Suggestion(name, start, cursor, about)
        for name, about in named
        if name.startswith(typed) and name != typed
    )


def _occurring(key: str, rows: Iterable[ProcessRow]) -> list[str]:
    if key == "state":
        return list(_STATES)
    if key == "owner":
        return list(_OWNERS)
    if key == "name":
        return sorted({row.name for row in rows if " " not in row.name})
    told = TEXT_KEYS[key][1]
    return sorted({value for row in rows for value in told(row).split()})
