"""The reader of nightdesk.toml: all problems at once, each with its line; layers; lines of keys."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.configuration import parse_config, read
from nightdesk.core.faults import without_secrets
from nightdesk.core.jobs.rules import glob_fault
from nightdesk.core.toml_lines import lines_of
from nightdesk.model.config import DeskConfig
from nightdesk.model.errors import ConfigError

GOOD = """
[desk]
name = "newsroom"

[jobs.transcribe]
command = "python transcribe.py {item}"
items = "audio/*.mp3"
retry = { attempts = 3, backoff = "30s" }

[jobs.report]
command = "python report.py"
needs = ["transcribe"]
"""


def problems(
    text: str, env: dict[str, str] | None = None, flags: dict[str, str] | None = None
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, env or {}, flags)
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_a_good_file_is_read_and_an_empty_one_gives_the_defaults() -> None:
    config = parse_config(GOOD, {})
    assert config.desk.name == "newsroom"
    assert config.jobs["transcribe"].retry.attempts == 3
    assert config.jobs["report"].needs == ("transcribe",)
    assert parse_config("", {}) == DeskConfig()


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = """[captrue]
x = 1
[capture]
source = "atuo"
prots = [1]
[watch]
interval = "2 seconds"
[jobs.a]
command = "x {item}"
needs = ["b"]
[jobs.b]
command = 'echo "open'
needs = ["a", "transcrib"]
[jobs.transcribe]
comand = "python x"
"""
    assert problems(text) == (
        "line 1: there is no section [captrue]; did you mean [capture]?",
        'line 4: [capture] source must be one of "auto", "file", "off", "relay", "scapy", "tcpdump", not "atuo"; '
        "did you mean 'auto'?",
        "line 5: [capture] has no key 'prots'; did you mean 'ports'?",
        'line 7: [watch] interval must be a length of time such as "30s", "10m" or "2h", not "2 seconds"',
        'line 9: [jobs.a] command holds {item}, but the job has no items: add items = "audio/*.mp3"',
        "line 10: these jobs wait for each other: a → b → a",
        "line 12: [jobs.b] command can't be split into arguments: no closing quotation",
        "line 13: [jobs.b] needs \"transcrib\", which is not a job; did you mean 'transcribe'?",
        "line 14: [jobs.transcribe] has no command",
        "line 15: [jobs.transcribe] has no key 'comand'; did you mean 'command'?",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("harbours = [11434]", "line 1: there is no key 'harbours'; there are [desk], [capture]"),
        ("[export]\nredact = ['a(']", "line 2: [export] redact holds the expression \"a(\": missing )"),
        ("[export]\nredact = ['a*']", "it finds empty text everywhere"),
        ("jobs = 3", "line 1: [jobs] must be a table, not 3"),
        ("[jobs]\nx = 'python x'", "line 2: [jobs] x must be a table, not \"python x\""),
        ("[capture.ports]\na = 1", "must be a list of whole numbers from 1 to 65535, not a table"),
        ("[capture]\nports = 11434", "not 11434"),
        ("[capture]\nports = [0]", "whole numbers from 1 to 65535; number 1 is 0"),
        ("[capture]\nports = [true]", "number 1 is true"),
        ("[viewer]\nmouse = 1", "line 2: [viewer] mouse must be true or false, not 1"),
        ("[desk]\nname = 2025-11-21", "not a date or time"),
        ("[store]\nmax_bytes = 5", "a whole number of at least 1000000, not 5"),
        ("[verdicts]\nloop_repeats = 2", "[verdicts] loop_repeats must be a whole number from 5 to 1000, not 2"),
        ("[verdicts]\nstalled_after = 30", "[verdicts] stalled_after must be a length of time"),
        ("[verdicts]\noff = ['lopp']", "[verdicts] off must be a list of"),
        ("[verdicts]\nstaled_after = '1s'", "did you mean 'stalled_after'?"),
        ("[store]\nkeep = '٣d'", "[store] keep must be a length of time"),
        ("[watch]\nlogs = ['a[b']", "[watch] logs holds the glob \"a[b\": a [ is never closed"),
        ("[jobs.x]\ncommand = ''", "line 2: [jobs.x] command is empty"),
        ("[jobs.x]\ncommand = 'a'\nitems = '**b/c'", "line 3: [jobs.x] items is the glob"),
        ("[jobs.x]\ncommand = 'a'\noutputs = 'c'", "line 3: [jobs.x] outputs is given, but the job has no items"),
        ("[jobs.x]\ncommand = 'a {itme}'", "holds {itme}; did you mean {item}?"),
        ("[jobs.'../x']\ncommand = 'a'", "the name of a job may hold letters, digits, - _ and . only"),
        ("[jobs.x]\ncommand = 'a'\nneeds = ['x']", "these jobs wait for each other: x → x"),
        ("[jobs.x]\ncommand = 'a'\nretry = { attempts = 0 }", "line 3: [jobs.x.retry] attempts must be a whole number"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place_and_what_was_expected(text: str, problem: str) -> None:
    told = problems(text)
    assert len(told) == 1
    assert problem in told[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a b = 1", "line 1, column 3: this is not TOML: expected '=' after a key in a key/value pair"),
        ("[desk]\n\nname = ", "line 3, column 8: this is not TOML: invalid value"),
        ('[desk]\nname="x', "line 2, column 8: this is not TOML: unterminated string"),
    ],
)
def test_broken_toml_is_one_sentence_with_line_and_column(text: str, problem: str) -> None:
    assert problems(text) == (problem,)


def test_a_wrong_value_in_the_environment_of_a_job_is_not_repeated() -> None:
    told = problems("[jobs.x]\ncommand = 'a'\nenv = { API_KEY = 12345 }")
    assert told == ("line 3: [jobs.x.env] API_KEY must be text in quotes, not a value of another kind",)


def test_flags_win_over_environment_over_file() -> None:
    text = "[capture]\nsource = 'scapy'\nrecord = 'none'\nports = [1]"
    env = {"NIGHTDESK_CAPTURE__SOURCE": "tcpdump", "NIGHTDESK_CAPTURE__RECORD": "metadata"}
    reading = read(text, env, {"capture.source": "relay"}, "/a/nightdesk.toml")
    capture = reading.config.capture
    assert (capture.source, capture.record, capture.ports) == ("relay", "metadata", (1,))
    assert reading.origins == {
        "capture.source": "--set capture.source",
        "capture.record": "environment NIGHTDESK_CAPTURE__RECORD",
        "capture.ports": "nightdesk.toml:4",
    }


def test_environment_values_are_toml_where_they_can_be_and_text_elsewhere() -> None:
    env = {
        "NIGHTDESK_CAPTURE__PORTS": "[11434, 8080]",
        "NIGHTDESK_VIEWER__MOUSE": "false",
        "NIGHTDESK_DESK__NAME": "42",
        "NIGHTDESK_STORE__KEEP": "3d",
        "NIGHTDESK_VIEWER__THEME": 'x"\nascii = true',
        "NIGHTDESK_JOBS__MY_JOB__TIMEOUT": "3h",
        "NIGHTDESK_RUN": "not ours",
        "NIGHTDESK_DESK": "/somewhere",
        "HOME__X": "not ours",
    }
    config = parse_config("[jobs.My-Job]\ncommand = 'a'", env)
    assert config.capture.ports == (11434, 8080)
    assert config.viewer.mouse is False
    assert (config.desk.name, config.store.keep) == ("42", "3d")
    assert (config.viewer.theme, config.viewer.ascii) == ('x"\nascii = true', False)
    assert config.jobs["My-Job"].timeout == "3h"


def test_a_wrong_variable_or_flag_is_named() -> None:
    assert problems("", {"NIGHTDESK_CAPTURE__PROTS": "1"}) == (
        "environment NIGHTDESK_CAPTURE__PROTS: [capture] has no key 'prots'; did you mean 'ports'?",
    )
    assert problems("", flags={"capture.relay_port": "99999"}) == (
        "--set capture.relay_port: [capture] relay_port must be a whole number from 0 to 65535, not 99999",
    )
    assert problems("", flags={"capture": "1"}) == ("--set capture: this is not SECTION.KEY",)


def test_lines_are_found_behind_every_kind_of_value() -> None:
    text = '''# [desk]
a = """
[b]
x = "1" """   # c = 2
"quoted.key" = 'it''s' # no
'''.replace("it''s", "it # s") + '''
list = [ # [z]
  "]", """]
""",
]
dotted . "in ner" = { k = 1, l = [1, 2] }
[t."u v".w]
y = 1
[[many]]
z = 2
'''  # fmt: skip
    tomllib.loads(text)
    assert lines_of(text) == {
        ("a",): 2,
        ("quoted.key",): 5,
        ("list",): 7,
        ("dotted",): 11,
        ("dotted", "in ner"): 11,
        ("t", "u v", "w"): 12,
        ("t", "u v", "w", "y"): 13,
        ("many",): 14,
        ("many", "z"): 15,
    }


@pytest.mark.parametrize("pattern", ["audio/*.mp3", "**/*.log", "a[0-9].x", "[[]x", "[]]", "~/x", "[!a]b"])
def test_good_globs_have_no_fault(pattern: str) -> None:
    assert glob_fault(pattern) is None


def test_secrets_in_commands_are_hidden_and_ports_are_not() -> None:
    command = "run --api-key abc --token=def -H 'Authorization: Bearer ghi' http://me:jkl@h:80/ --server http://h:80"
    hidden = without_secrets(command)
    assert hidden == (
        "run --api-key *** --token=*** -H 'Authorization: Bearer ***' http://me:***@h:80/ --server http://h:80"
    )


def told_of(text: str) -> tuple[str, ...]:
    try:
        parse_config(text, {})
    except ConfigError as fault:
        return fault.problems or ("no problem was told",)
    return ()


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_the_line(text: str) -> None:
    assert all(problem.startswith("line ") for problem in told_of(text))


_KEYS = st.sampled_from(
    ["desk", "capture", "jobs", "ports", "command", "needs", "retry", "x", "items", "env", "logs"]
)
_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 99_999), st.sampled_from(["", "1s", "a {item}", "[", "x"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_tables_are_read_or_every_problem_has_a_line(tables: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in tables.items())
    assert all(problem.startswith("line ") for problem in told_of(text))


def test_a_price_is_a_number_in_the_file_in_a_flag_and_in_what_is_said_of_a_wrong_one() -> None:
    file = "[energy]\nprice_per_kwh = 0.32\n"
    assert parse_config(file, {}, {"desk.name": "x"}).energy.price_per_kwh == 0.32
    assert parse_config("", {}, {"energy.price_per_kwh": "1"}).energy.price_per_kwh == 1
    for wrong in ("-1", "1001", "nan", "true", '"30s"'):
        with pytest.raises(ConfigError) as refused:
            parse_config("", {}, {"energy.price_per_kwh": wrong})
        assert "[energy] price_per_kwh must be a number from 0 to 1000, not" in refused.value.problems[0]
