"""Snippets are run: what arrives at a real server is what was recorded."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.foreign import safe
from nightdesk.core.inspection.snippets import PLACEHOLDER, curl, python
from nightdesk.model.exchange import Exchange, MissingBytes

REPLY = {
    "model": "m",
    "created_at": "2025-11-21T02:14:07Z",
    "message": {"role": "assistant", "content": "hi"},
    "response": "hi",
    "done": True,
    "embeddings": [[1.0]],
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
}


class Server(ThreadingHTTPServer):
    """Remembers what arrives."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers every request with the same object."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.seen.append((self.command, self.path, dict(self.headers.items()), body))
        answer = json.dumps(REPLY).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def exchange(address: str, body: str | None, **more: Any) -> Exchange:
    sent = (body or "").encode("utf-8", "replace")
    given: dict[str, Any] = {
        "id": 1,
        "state": "complete",
        "client_addr": "127.0.0.1:41234",
        "server_addr": address,
        "connection": 1,
        "position": 1,
        "method": "POST",
        "path": "/api/chat",
        "dialect": "ollama",
        "operation": "chat",
        "streamed": True,
        "fragments": 1,
        "text": "",
        "thinking": "",
        "tool_calls": (),
        "done": True,
        "started_ns": 1,
        "request_bytes": len(sent),
        "request_sha256": hashlib.sha256(sent).hexdigest(),
        "response_bytes": 0,
        "response_sha256": "",
        "missing_bytes": MissingBytes(request=0, response=0),
        "verdicts": (),
        "request_headers": (
            ("Host", address),
            ("Content-Type", "application/json"),
            ("User-Agent", 'it\'s "odd" $HOME `id` \\'),
            ("X-Empty", ""),
            ("Content-Length", "999"),
        ),
        "request_body": body,
        **more,
    }
    return Exchange(**given)


def run_shell(text: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(text, encoding="utf-8")
    subprocess.run(["sh", str(script)], check=True, timeout=60, capture_output=True, cwd=tmp_path)


BODIES = {
    "plain": '{"model": "m", "messages": []}',
    "quotes": '{"a": "it\'s $HOME `id` \\" \\\\ \\n %s %d !x"}',
    "lines": '{\n  "a": 1\n}\n\n',
    "begins with @": "@/etc/passwd",
    "controls": "\x00\x01\x1b]52;c;aGk=\x07\x9b31m\u202eabc\u202c\x7f\r\n\\0101 100% \\c end'",
    "digits behind escapes": "\x011\x0277\\x41\\u0041",
    "unicode": "議事録 «é» 😀",
    "empty object": "{}",
}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("name", BODIES)
def test_curl_sends_the_recorded_bytes(server: Server, tmp_path: Path, name: str) -> None:
    snippet = curl(exchange(server.address, BODIES[name]))
    run_shell(snippet.text, tmp_path)
    assert snippet.notes == ()
    assert safe(snippet.text) == snippet.text
    ((method, path, headers, body),) = server.seen
    assert (method, path) == ("POST", "/api/chat")
    assert body == BODIES[name].encode()
    assert headers["User-Agent"] == 'it\'s "odd" $HOME `id` \\'
    assert headers["Content-Type"] == "application/json" and headers["X-Empty"] == ""
    assert "Accept" not in headers and "Expect" not in headers


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sends_a_body_that_no_argument_can_hold(server: Server, tmp_path: Path) -> None:
    body = json.dumps({"prompt": "it's 議事録 " * 60_000}, ensure_ascii=False)
    run_shell(curl(exchange(server.address, body)).text, tmp_path)
    assert server.seen[0][3] == body.encode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_asks_without_a_body_where_none_was_sent(server: Server, tmp_path: Path) -> None:
    asked = exchange(server.address, None, method="GET", path="/api/tags?[x]={y}&a=b c';\x1b")
    snippet = curl(asked)
    run_shell(snippet.text, tmp_path)
    method, path, _, body = server.seen[0]
    assert (method, path, body) == ("GET", "/api/tags?[x]=%7By%7D&a=b%20c';%1B", b"")
    assert "\x1b" not in snippet.text


def test_a_masked_secret_is_a_placeholder_and_said_so() -> None:
    headers = (("Authorization", "⟨masked⟩"), ("X-Bad", "a\x1b[2J"))
    for made in (curl, python):
        snippet = made(exchange("127.0.0.1:1", '{"odd": 1}', request_headers=headers))
        assert PLACEHOLDER in snippet.text and "⟨masked⟩" not in snippet.text
        assert "masked when it was recorded" in snippet.text
        assert "X-Bad: left out" in snippet.text and safe(snippet.text) == snippet.text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"request_bytes": 5_000_000, "request_sha256": "ab"}, "cut in the record: 19 of 5,000,000 bytes"),
        ({"request_sha256": "ab"}, "not byte for byte"),
        ({"request_body": None, "request_bytes": 12}, "was not recorded"),
        (
            {"missing_bytes": MissingBytes(request=7, response=0), "request_sha256": "ab"},
            "7 bytes of the body",
        ),
        (
            {"request_body": '{"images": ["⟨5 bytes, sha256 ab⟩"]}', "request_sha256": "ab"},
            "Images are recorded",
        ),
        (
            {"request_headers": (("Content-Encoding", "gzip"),), "request_sha256": "ab"},
            "sent compressed",
        ),
    ],
)
def test_what_is_not_exact_is_said(more: dict[str, Any], words: str) -> None:
    given = exchange("127.0.0.1:1", '{"model": "x", "a"}', **more)
    for made in (curl, python):
        snippet = made(given)
        assert any(words in note for note in snippet.notes)
        assert words in snippet.text


def run_python(text: str, tmp_path: Path) -> str:
    script = tmp_path / "again.py"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], check=False, timeout=60, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", BODIES)
def test_python_with_httpx_sends_the_recorded_bytes(server: Server, tmp_path: Path, name: str) -> None:
    snippet = python(exchange(server.address, BODIES[name], dialect="http", path="/anything"))
    assert "import httpx" in snippet.text and safe(snippet.text) == snippet.text
    run_python(snippet.text, tmp_path)
    assert server.seen[0][3] == BODIES[name].encode()


def test_python_uses_the_ollama_client_where_it_takes_every_field(server: Server, tmp_path: Path) -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "why\x1b[2J 'so' \u202e?"}],
        "stream": False,
        "options": {"num_ctx": 8192, "temperature": 0.1},
    }
    snippet = python(exchange(server.address, json.dumps(body)))
    assert "from ollama import Client" in snippet.text and safe(snippet.text) == snippet.text
    assert "hi" in run_python(snippet.text, tmp_path)
    assert {
        name: value
        for name, value in json.loads(server.seen[0][3]).items()
        if value is not None and value != []
    } == body


def test_python_uses_the_openai_client_and_keeps_fields_that_it_does_not_know(
    server: Server, tmp_path: Path
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "why?"}], "num_ctx": 4096}
    made = exchange(server.address, json.dumps(body), dialect="openai", path="/v1/chat/completions")
    snippet = python(made)
    assert "from openai import OpenAI" in snippet.text
    assert "hi" in run_python(snippet.text, tmp_path)
    assert json.loads(server.seen[0][3]) == body


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "m", "a_field_of_tomorrow": 1}',
        '{"model": "m", "model": "n"}',
        '{"model": 1e999}',
        '{"model": NaN}',
        '{"options": ' + "[" * 10_000 + "]" * 10_000 + "}",
        "[1]",
        "no json",
    ],
)
def test_what_a_client_could_change_is_sent_as_bytes(body: str) -> None:
    snippet = python(exchange("127.0.0.1:1", body))
    assert "import httpx" in snippet.text
    compile(snippet.text, "again.py", "exec")
