"""The capture process on real packets: a real client talks to a real server on loopback."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from nightdesk.model.exchange import CaptureStatus, ExchangeGrew, ExchangeSeen
from tests.support.capture import (
    PATIENCE,
    Capture,
    ask,
    capture_refusal,
    capturing,
    model_server,
    start_client,
)

REFUSAL = capture_refusal()
pytestmark = [
    pytest.mark.capture,
    pytest.mark.skipif(REFUSAL is not None, reason=REFUSAL or "capture works"),
]
SOURCES = [
    "scapy",
    pytest.param("tcpdump", marks=pytest.mark.skipif(not shutil.which("tcpdump"), reason="no tcpdump")),
]
WITHOUT_CAPTURE = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")


@pytest.mark.parametrize("source", SOURCES)
def test_an_exchange_is_seen_while_it_runs_and_ends_with_the_text_that_the_client_got(source: str) -> None:
    with model_server() as server, capturing("--source", source, "--ports", str(server.port)) as capture:
        server.go_on.clear()
        client = start_client(server.port, "/api/generate")
        half = "".join(server.words[: len(server.words) // 2])
        running = capture.exchange("/api/generate", "running")
        capture.until(lambda: _text(capture, running.id) == half or None, "half")
        assert not capture.seen("/api/generate")[-1].done
        server.go_on.set()
        said, _ = client.communicate(timeout=PATIENCE)
        ended = capture.exchange("/api/generate", "complete")
    assert ended.id == running.id
    assert ended.text == said == server.text
    assert (ended.fragments, ended.reply_tokens, ended.done_reason) == (41, 40, "stop")


def _text(capture: Capture, number: int) -> str:
    """The text as somebody who follows the lines has it."""
    text = ""
    for line in capture.lines:
        if isinstance(line, ExchangeSeen) and line.exchange.id == number:
            text = line.exchange.text
        elif isinstance(line, ExchangeGrew) and line.id == number:
            text += line.text
    return text


@pytest.mark.parametrize("source", SOURCES)
def test_each_exchange_is_seen_once_and_names_its_process_run_and_item(source: str) -> None:
    with model_server() as server, capturing("--source", source, "--ports", str(server.port)) as capture:
        pid, _ = ask(server.port, "/one", "/two", NIGHTDESK_RUN="r-1", NIGHTDESK_ITEM="a b.mp3")
        first, second = capture.exchange("/one", "complete"), capture.exchange("/two", "complete")
    for exchange in (first, second):
        assert exchange.process is not None
        assert exchange.process.pid == pid
        assert "http.client" in exchange.process.command
        assert (exchange.run, exchange.item) == ("r-1", "a b.mp3")
    assert (first.position, second.position) == (1, 2)
    assert len([e for e in capture.seen("/one") + capture.seen("/two") if e.state == "complete"]) == 2


CURL = ["curl", "-s", "-d", "{{}}", "http://127.0.0.1:{port}{path}"]
LEAVES_AT_ONCE = [
    "bash",
    "-c",
    "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'POST {path} HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}' >&3",
]


@pytest.mark.parametrize("client", [CURL, LEAVES_AT_ONCE], ids=["curl", "leaves at once"])
def test_clients_that_live_for_some_milliseconds_are_named_or_it_is_said_why_not(client: list[str]) -> None:
    if not shutil.which(client[0]):
        pytest.skip(f"{client[0]} is not installed")
    with model_server() as server, capturing("--source", "scapy", "--ports", str(server.port)) as capture:
        server.words = ["short"]
        pids = {}
        for number in range(20):
            words = [client[0], *(word.format(port=server.port, path=f"/c{number}") for word in client[1:])]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, env=_marked(number)) as process:
                process.wait(PATIENCE)
            pids[f"/c{number}"] = process.pid
        ended = [capture.exchange(path, "complete", "aborted", "partial") for path in pids]
    named = [exchange for exchange in ended if exchange.process]
    assert named, ended[0].unknown
    for path, exchange in zip(pids, ended, strict=True):
        if exchange.process is None:
            assert "gone before" in exchange.unknown["process"]
        else:
            assert exchange.process.pid == pids[path]
            assert exchange.process.name == client[0]
            assert "process" not in exchange.unknown
        # A program that was gone too soon may be known by its run alone, but never by that of another.
        assert exchange.run in {None, f"r-{path[2:]}"}


def _marked(number: int) -> dict[str, str]:
    return {**os.environ, "NIGHTDESK_RUN": f"r-{number}"}


def test_what_the_engine_itself_asks_is_left_out() -> None:
    with model_server() as server, capturing("--source", "scapy", "--ports", str(server.port)) as capture:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for path, agent in [
            ("/api/version", "nightdesk/0.1.0"),
            ("/mine", "python"),
            ("/api/ps", "nightdesk/0.1.0"),
        ]:
            connection.request("GET", path, headers={"User-Agent": agent})
            connection.getresponse().read()
        connection.close()
        ask(server.port, "/last")
        capture.exchange("/last", "complete")
    assert capture.seen("/mine")[-1].state == "complete"
    assert not capture.seen("/api/version") and not capture.seen("/api/ps")


def test_a_client_that_hangs_up_makes_an_aborted_exchange() -> None:
    with model_server() as server, capturing("--source", "scapy", "--ports", str(server.port)) as capture:
        server.go_on.clear()
        client = start_client(server.port, "/api/generate")
        capture.exchange("/api/generate", "running")
        client.kill()
        client.communicate(timeout=PATIENCE)
        server.go_on.set()
        ended = capture.exchange("/api/generate", "aborted")
    assert ended.aborted_by == "client"


@pytest.mark.parametrize("source", SOURCES)
def test_the_process_ends_with_its_input_and_leaves_no_child(source: str) -> None:
    with model_server() as server, capturing("--source", source, "--ports", str(server.port)) as capture:
        children = psutil.Process(capture.process.pid).children(recursive=True)
        assert capture.end() == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("source", ["scapy", "tcpdump", "relay", "off"])
def test_a_terminated_process_ends_with_success(source: str) -> None:
    with capturing("--source", source, "--ports", "9") as capture:
        capture.process.send_signal(signal.SIGTERM)
        assert capture.process.wait(PATIENCE) == 0


def test_the_death_of_tcpdump_is_reported_and_ends_the_process() -> None:
    with capturing("--source", "tcpdump", "--ports", "9") as capture:
        (tcpdump,) = psutil.Process(capture.process.pid).children()
        tcpdump.kill()
        assert capture.process.wait(PATIENCE) == 1
    last = capture.statuses()[-1]
    assert last.state == "failed" and "tcpdump ended" in (last.message or "")


def test_an_interface_that_does_not_exist_is_named_with_those_that_do() -> None:
    capture = Capture("--source", "scapy", "--interface", "nope0", "--ports", "9")
    assert capture.end() == 1
    last = capture.statuses()[-1]
    assert (
        last.state == "failed"
        and last.message == "There is no interface nope0. There are: " + _interfaces() + "."
    )


def _interfaces() -> str:
    import socket

    return ", ".join(name for _, name in socket.if_nameindex())


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_without_the_right_to_capture_the_relay_takes_over_and_says_what_was_missing() -> None:
    with capturing("--source", "auto", "--ports", "11434", launcher=WITHOUT_CAPTURE) as capture:
        status: CaptureStatus = capture.live()
    assert status.source == "relay" and status.relay
    assert "scapy: The right to capture packets is missing." in (status.message or "")
    assert "sudoers.d.example" in (status.message or "") and f"OLLAMA_HOST={status.relay}" in (
        status.message or ""
    )


NETWORK = pytest.mark.skipif(
    not (shutil.which("unshare") and shutil.which("ip") and shutil.which("nsenter")),
    reason="needs unshare, nsenter and ip",
)


def inside(capture: Capture, *argv: str) -> None:
    """Run a command in the network of a capture process."""
    subprocess.run(["nsenter", "-t", str(capture.process.pid), "-n", *argv], check=True, timeout=PATIENCE)


def ask_inside(capture: Capture, path: str) -> None:
    """An exchange on the loopback interface of a capture process."""
    serve = (
        "import http.server, http.client, threading\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n"
        "    def log_request(self, *a): pass\n"
        "s = http.server.HTTPServer(('127.0.0.1', 9), H)\n"
        "t = threading.Thread(target=s.handle_request); t.start()\n"
        f"c = http.client.HTTPConnection('127.0.0.1', 9); c.request('GET', '{path}'); c.getresponse().read()\n"
        "c.close(); t.join(); s.server_close()\n"
    )
    inside(capture, sys.executable, "-c", serve)


@NETWORK
def test_an_interface_that_goes_down_is_reported_and_what_comes_later_is_seen() -> None:
    launcher = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    capture = Capture("--source", "scapy", "--ports", "9", launcher=launcher)
    try:
        capture.live()
        ask_inside(capture, "/before")
        before = capture.exchange("/before", "complete")
        inside(capture, "ip", "link", "set", "lo", "down")
        failed = _said(capture, 0, "failed")
        gone = len(capture.lines)
        inside(capture, "ip", "link", "set", "lo", "up")
        again = _said(capture, gone, "live")
        ask_inside(capture, "/after")
        after = capture.exchange("/after", "complete")
    finally:
        capture.end()
    assert "Capture on lo stopped: it was taken down. It goes on by itself" in (failed.message or "")
    assert again.packets >= 4 and again.message is None
    assert (before.id, after.id) == (1, 2)


@NETWORK
def test_an_interface_that_is_taken_away_and_comes_back_is_watched_again() -> None:
    pair = "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up"
    launcher = ("unshare", "-n", "sh", "-c", f'ip link set lo up; {pair}; exec "$@"', "sh")
    capture = Capture("--source", "scapy", "--interface", "v0", "--ports", "9", launcher=launcher)
    try:
        capture.live()
        inside(capture, "ip", "link", "del", "v0")
        _said(capture, 0, "failed")
        gone = len(capture.lines)
        inside(capture, "sh", "-c", pair)
        again = _said(capture, gone, "live")
        assert capture.process.poll() is None
    finally:
        capture.end()
    assert again.interface == "v0"


def _said(capture: Capture, since: int, state: str) -> CaptureStatus:
    """The first status with this state after some lines."""

    def look() -> CaptureStatus | None:
        later = list(capture.lines)[since:]
        return next((s for s in later if isinstance(s, CaptureStatus) and s.state == state), None)

    return capture.until(look, f"{state} status")


def test_a_state_line_comes_first_and_counts_packets_later() -> None:
    with model_server() as server, capturing("--source", "scapy", "--ports", str(server.port)) as capture:
        assert capture.statuses()[0].state == "starting"
        ask(server.port, "/one")
        status = capture.until(lambda: next((s for s in capture.statuses() if s.packets > 4), None), "count")
    assert status.dropped == 0
    assert status.ports == (server.port,)


def test_nothing_but_the_launcher_is_needed_to_start_it() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "nightdesk.engine.capture", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--relay-port" in shown.stdout
