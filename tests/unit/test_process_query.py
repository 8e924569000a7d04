"""The filter of the process list."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.core.inspection.query import QueryError
from nightdesk.core.processes.query import complete, parse
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import ProcessRow

NS = 10**9
NOW = 100_000 * NS


def row(pid: int, command: str, **more: Any) -> ProcessRow:
    given = {"ppid": 1, "name": command.split()[0], "user": "ada", "state": "S", **more}
    began = NOW - given.pop("age_s", 60) * NS
    return ProcessRow(key=ProcessKey(pid=pid, started_ns=began), command=command, **given)


ROWS = (
    row(11, "ollama serve", owner="service", ports=(11434,), rss_bytes=140_000_000, cpu_ratio=0.02),
    row(12, "ollama runner", owner="service", rss_bytes=20_000_000_000, device_bytes=18_000_000_000, ppid=11),
    row(13, "python transcribe.py a b.mp3", owner="run", run="transcribe-1", job="transcribe", cpu_ratio=3.8),
    row(14, "python old.py", owner="orphan", state="T", ports=(8080, 8081), age_s=7200, threads=90),
    row(111, "nginx: worker", user="www-data", cpu_ratio=None),
)


def found(text: str) -> list[int]:
    query = parse(text)
    return [each.key.pid for each in ROWS if query.matches(each, NOW)]


@pytest.mark.parametrize(
    ("text", "pids"),
    [
        ("", [11, 12, 13, 14, 111]),
        ("name:python", [13, 14]),
        ("name:ollama,nginx", [11, 12, 111]),
        ("user:www-data", [111]),
        ("job:trans", [13]),
        ("run:transcribe-1", [13]),
        ("job:*", [13]),
        ("port:11434", [11]),
        ("port:8081,11434", [11, 14]),
        ("port:*", [11, 14]),
        ("owner:orphan", [14]),
        ("owner:service,run", [11, 12, 13]),
        ("state:paused", [14]),
        ("state:T", [14]),
        ("pid:11", [11]),
        ("ppid:11", [12]),
        ("cpu>50", [13]),
        ("cpu>50%", [13]),
        ("cpu<=2", [11]),
        ("mem>1gb", [12]),
        ("mem:>1gb", [12]),
        ("mem<1g", [11]),
        ("gpu>=18gb", [12]),
        ("age>1h", [14]),
        ("threads>50", [14]),
        ("-owner:service", [13, 14, 111]),
        ("ollama -runner", [11]),
        ("name:python owner:run", [13]),
        ("OLLAMA serve", [11]),
        ("a b.mp3", [13]),
        ('"a b.mp3" owner:run', [13]),
        (":8080", [14]),
        ("http://x", []),
        ("worker user:www-data", [111]),
    ],
)
def test_terms_find_what_they_say(text: str, pids: list[int]) -> None:
    assert found(text) == pids


def test_what_is_unknown_matches_no_comparison() -> None:
    assert 111 not in found("cpu<50") + found("cpu>=0")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nmae:python", "Did you mean name?"),
        ("cpu:50", "cpu>50"),
        ("cpu>", "cpu>50"),
        ("mem>much", "mem>1gb"),
        ("size>3", "Known: "),
        ("owner:me", "Known: run"),
        ("port:", "port:11434"),
    ],
)
def test_a_fault_names_its_place_and_the_remedy(text: str, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(f"python {text}")
    assert says in caught.value.hint
    assert (caught.value.start, caught.value.end) == (7, 7 + len(text))


def test_plain_words_are_marked_in_the_list_and_terms_are_not() -> None:
    assert parse("owner:run Transcribe").words == "transcribe"
    assert parse("owner:run").words == ""


def test_keys_and_values_are_suggested() -> None:
    assert [each.insert for each in complete("ow", 2, ROWS)] == ["owner:"]
    assert [each.insert for each in complete("cpu>50 port:", 12, ROWS)] == ["11434", "8080", "8081"]
    taken = complete("-own", 4, ROWS)[0]
    assert "-own"[: taken.start] + taken.insert + "-own"[taken.end :] == "-owner:"
    assert complete("", 0, ROWS) == ()
    assert [each.insert for each in complete("job:t", 5, ROWS)] == ["transcribe"]
