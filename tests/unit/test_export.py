"""Exports: HAR that other tools can read, chat samples, and what is taken out of both."""

import json
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightdesk.export import dataset, har
from nightdesk.export.redaction import Redactor
from nightdesk.model.exchange import Exchange, Image, Message, MissingBytes, Prompt, ToolCall
from nightdesk.model.process import ProcessRef

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "ollama"
NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
BEGIN = 1_795_000_000_123_456_789


def exchange(**changes: Any) -> Exchange:
    given: dict[str, Any] = {
        "id": 7,
        "state": "complete",
        "client_addr": "127.0.0.1:50000",
        "server_addr": "[::1]:11434",
        "connection": 3,
        "position": 1,
        "method": "POST",
        "path": "/api/chat?trace=a%20b&empty=",
        "status": 200,
        "dialect": "ollama",
        "operation": "chat",
        "streamed": True,
        "stream_format": "ndjson",
        "fragments": 3,
        "model": "tiny",
        "text": "A golden river.",
        "thinking": "hmm",
        "tool_calls": (),
        "done": True,
        "started_ns": BEGIN,
        "first_byte_ns": BEGIN + 250 * 10**6,
        "ended_ns": BEGIN + 1_000 * 10**6,
        "request_bytes": 10,
        "request_sha256": "0" * 64,
        "response_bytes": 20,
        "response_sha256": "1" * 64,
        "missing_bytes": MissingBytes(request=0, response=0),
        "process": ProcessRef(pid=4711, started_ns=1, name="python3", command="python3 night.py"),
        "verdicts": (),
        "job": "transcribe",
        "item": "talk 9.mp3",
        "prompt": Prompt(messages=(Message(role="user", content="Where?"),)),
        "request_headers": (("Content-Type", "application/json"), ("X-Odd", "ä\x00")),
        "response_headers": (("content-type", "application/x-ndjson"),),
        "request_body": '{"messages":[]}',
        "response_body": "\x00\x1b[31m�\u2028 end",
        "fragment_gaps_ns": (250 * 10**6, 500 * 10**6, 250 * 10**6),
    }
    return Exchange(**(given | changes))


def check_entry(entry: dict[str, Any]) -> None:
    """The facts of HAR 1.2: what must be there, of which type, and what must add up."""
    datetime.fromisoformat(entry["startedDateTime"])
    assert entry["time"] >= 0 and entry["cache"] == {}
    timings = entry["timings"]
    assert all(timings[name] >= 0 for name in ("send", "wait", "receive"))
    assert all(timings[name] >= -1 for name in ("blocked", "dns", "connect", "ssl"))
    assert entry["time"] == pytest.approx(sum(span for span in timings.values() if span > 0))
    request, response = entry["request"], entry["response"]
    for name in ("method", "url", "httpVersion"):
        assert isinstance(request[name], str) and request[name]
    assert request["url"].startswith("http://")
    for message in (request, response):
        assert (
            message["cookies"] == [] and isinstance(message["bodySize"], int) and message["headersSize"] == -1
        )
        for pair in message["headers"]:
            assert set(pair) == {"name", "value"} and all(isinstance(part, str) for part in pair.values())
    for pair in request["queryString"]:
        assert set(pair) == {"name", "value"}
    if "postData" in request:
        assert isinstance(request["postData"]["mimeType"], str) and isinstance(
            request["postData"]["text"], str
        )
    assert isinstance(response["status"], int) and isinstance(response["statusText"], str)
    assert isinstance(response["redirectURL"], str) and response["httpVersion"]
    assert isinstance(response["content"]["size"], int) and isinstance(response["content"]["mimeType"], str)
    extra = set(entry) - {
        "startedDateTime", "time", "request", "response", "cache", "timings", "serverIPAddress", "connection"
    }  # fmt: skip
    assert all(name.startswith("_") for name in extra)


def test_an_entry_tells_times_as_a_browser_does_and_the_rest_in_fields_of_its_own() -> None:
    entry = json.loads(msgspec.json.encode(har.entry(exchange())))
    check_entry(entry)
    assert entry["startedDateTime"].endswith(".123Z")
    assert entry["timings"]["wait"] == 250 and entry["timings"]["receive"] == 750
    assert entry["request"]["url"] == "http://[::1]:11434/api/chat?trace=a%20b&empty="
    assert entry["request"]["queryString"] == [
        {"name": "trace", "value": "a b"},
        {"name": "empty", "value": ""},
    ]
    assert entry["serverIPAddress"] == "::1"
    assert [one["time"] for one in entry["_fragments"]] == [250, 750, 1000]
    assert (entry["_pid"], entry["_job"], entry["_item"]) == (4711, "transcribe", "talk 9.mp3")
    assert entry["response"]["content"]["text"] == "\x00\x1b[31m�\u2028 end"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None, "state": "aborted", "first_byte_ns": None, "response_headers": ()},
        {"ended_ns": None, "state": "running", "request_body": None, "response_body": None},
        {"method": None, "path": None, "state": "partial", "process": None, "status": 799},
        {"path": "http://[odd/x?=", "first_byte_ns": BEGIN - 5},
    ],
)
def test_an_exchange_of_which_little_is_known_is_an_entry_too(changes: dict[str, Any]) -> None:
    check_entry(json.loads(msgspec.json.encode(har.entry(exchange(**changes)))))


def test_a_sample_is_the_chat_with_its_reply() -> None:
    prompt = Prompt(
        system="Be brief.",
        messages=(
            Message(role="user", content="Weather?"),
            Message(role="assistant", content="", tool_calls=(ToolCall(name="look", arguments={"at": 1}),)),
            Message(role="tool", content="rain", tool_name="look"),
        ),
        tools=({"name": "look", "description": "Looks.", "input_schema": {"type": "object"}},),
    )
    made = dataset.sample(exchange(prompt=prompt))
    assert made is not None
    assert [message["role"] for message in made["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert made["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":1}'}
    assert made["messages"][-1]["content"] == "A golden river."
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    assert made["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "aborted"},
        {"text": ""},
        {"prompt": None},
        {"prompt": Prompt(system="Only this.")},
        {"operation": "embed"},
        {"missing_bytes": MissingBytes(request=0, response=9)},
        {"prompt": Prompt(prompt="What is this?", images=(Image(sha256="0", bytes=9),))},
    ],
)
def test_what_is_not_whole_is_no_sample(changes: dict[str, Any]) -> None:
    assert dataset.sample(exchange(**changes)) is None


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key sk-abcdefghijklmnop1234 end", "key [redacted key] end"),
        ("ghp_abcdefghijklmnopqrstuvwxyz01", "[redacted key]"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer [redacted token]"),
        ('{"api_key": "s3cr3tvalue", "x": 1}', '{"api_key": "[redacted]", "x": 1}'),
        ('{\\"password\\": \\"hunter22\\"}', '{\\"password\\": \\"[redacted]\\"}'),
        ("PASSWORD=hunter22;next", "PASSWORD=[redacted];next"),
        ("write to jo.night+x@mail.example.org.", "write to [redacted e-mail]."),
        ("/home/jo/notes.txt and /Users/jo.n/x", "/home/[redacted]/notes.txt and /Users/[redacted]/x"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- rest", "[redacted key] rest"),
        ("the tokens of a token ring, 3 @ home", "the tokens of a token ring, 3 @ home"),
    ],
)
def test_built_in_rules_take_out_what_looks_like_a_secret(text: str, left: str) -> None:
    assert Redactor(built_in=True).text(text) == left


def test_own_patterns_hold_for_every_text_inside_an_exchange() -> None:
    redactor = Redactor((r"golden \w+",))
    value = redactor.value(msgspec.to_builtins(exchange()))
    assert value["text"] == "A [redacted]." and value["id"] == 7
    assert msgspec.convert(value, Exchange).prompt == exchange().prompt


def test_redaction_of_long_hostile_text_ends_soon() -> None:
    hostile = (
        ("a" * 5000 + "@") * 20 + "token" * 20_000 + "/home/" * 5000 + "-----BEGIN A PRIVATE KEY-----" * 200
    )
    assert len(Redactor(built_in=True).text(hostile)) > 0


def run(*words: str, folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NIGHTDESK, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=120, **more
    )


needs_recordings = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason="the recordings are not beside the repository"
)


@needs_recordings
def test_a_recorded_capture_becomes_har_without_an_engine(tmp_path: Path) -> None:
    source = FIXTURES / "05-tools-and-format.pcap"
    done = run("export", "--har", "--from", str(source), "-o", "night.har", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    archive = json.loads((tmp_path / "night.har").read_text())
    assert archive["log"]["version"] == "1.2" and archive["log"]["creator"]["name"] == "nightdesk"
    for entry in archive["log"]["entries"]:
        check_entry(entry)
    listed = [
        json.loads(line)
        for line in run("capture", str(source), "--json", folder=tmp_path).stdout.splitlines()
    ]
    assert [entry["_id"] for entry in archive["log"]["entries"]] == [one["id"] for one in listed]
    assert [entry["response"]["content"].get("text") for entry in archive["log"]["entries"]] == [
        one.get("response_body") for one in listed
    ]
    assert stat.S_IMODE((tmp_path / "night.har").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["night.har"]


@needs_recordings
def test_json_lines_of_a_capture_are_what_capture_prints_and_can_be_filtered(tmp_path: Path) -> None:
    source = str(FIXTURES / "09-errors.pcap")
    whole = run("export", "--jsonl", "--from", source, folder=tmp_path).stdout.splitlines()
    assert [json.loads(line) for line in whole] == [
        json.loads(line) for line in run("capture", source, "--json", folder=tmp_path).stdout.splitlines()
    ]
    failed = run(
        "export", "--jsonl", "--from", source, "--status", "error", folder=tmp_path
    ).stdout.splitlines()
    wanted = [
        line
        for line in whole
        if (one := json.loads(line))["state"] in ("failed", "aborted", "incomplete")
        or one.get("status", 0) >= 400
    ]
    assert failed == wanted and 0 < len(failed) < len(whole)


@needs_recordings
def test_a_damaged_capture_gives_a_whole_archive_of_what_came_before_and_says_so(tmp_path: Path) -> None:
    cut = (FIXTURES / "05-tools-and-format.pcap").read_bytes()[:-30]
    done = run(
        "export", "--har", "--from", "-", folder=tmp_path, input=cut.decode("latin-1"), encoding="latin-1"
    )
    assert done.returncode == 1 and "ends in the middle" in done.stderr
    assert len(json.loads(done.stdout)["log"]["entries"]) > 5


def test_an_export_asks_for_its_format_and_refuses_a_wrong_filter(tmp_path: Path) -> None:
    assert "--jsonl, --har or --dataset" in run("export", folder=tmp_path).stderr
    wrong = run("export", "--har", "-q", "modle:x", folder=tmp_path)
    assert wrong.returncode == 2 and "modle" in wrong.stderr and "model" in wrong.stderr


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"")
    done = run("export", "--har", "--from", "a.pcap", "-o", "none/x.har", folder=tmp_path)
    assert done.returncode == 1 and "none/x.har can't be written" in done.stderr
