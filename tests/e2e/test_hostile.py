"""Text of others that tries to command the terminal: it is shown, or left out, and never obeyed."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.bench.terminal import Terminal, terminal
from tests.support.wire import Talk, pcap, request
from tests.support.world import NIGHTDESK, World, until

MARK = "EVIL"
ATTACKS = (
    "\x1b]52;c;aGk=\x07", "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "[/]", "[@click=app.quit]x[/]",
    "\u202egnp.exe", "\u2066", "\x7f", "\x1bP+q\x1b\\", "\x08\x08",
)  # fmt: skip
HOSTILE = MARK + "".join(ATTACKS)
NAME = MARK + "".join(attack for attack in ATTACKS if "/" not in attack)
"""For files and processes."""
LONG = HOSTILE + "A" * 2_000_000
FORBIDDEN = (b"\x1b]52", b"\x1b]0;", b"\xc2\x9b", b"\x1bP+q", "\u202e".encode(), "\u2066".encode(), b"\x7f")

REPLY = json.dumps(
    {
        "model": HOSTILE,
        "created_at": "2025-11-21T00:00:00Z",
        "message": {"role": "assistant", "content": LONG, "thinking": HOSTILE,
                    "tool_calls": [{"function": {"name": HOSTILE, "arguments": {HOSTILE: HOSTILE}}}]},
        "done": True, "done_reason": HOSTILE, "prompt_eval_count": 5, "eval_count": 9,
    },
    ensure_ascii=False,
).encode()  # fmt: skip


def capture_file() -> bytes:
    """A recorded exchange with hostile text in every place that has text."""
    asked = {"model": HOSTILE, "prompt": HOSTILE, "stream": False}
    told = json.dumps({"model": HOSTILE, "response": HOSTILE, "done": True, "done_reason": HOSTILE}).encode()
    head = f"HTTP/1.1 200 OK\r\nServer: {HOSTILE}\r\nContent-Length: {len(told)}\r\n\r\n".encode()
    talk = Talk().open().send(request(asked)).answer(head + told)
    talk.send(request(b"{}", f"/{NAME.replace(' ', '')}")).answer(
        b"HTTP/1.1 500 " + HOSTILE.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    )
    return pcap(talk.close().frames)


class EvilServer:
    """A model server that answers with hostile text, and names hostile models."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(65536)
                connection.sendall(self._answer(asked))

    def _answer(self, asked: bytes) -> bytes:
        body = REPLY
        if b"/api/version" in asked:
            body = json.dumps({"version": HOSTILE}, ensure_ascii=False).encode()
        elif b"/api/ps" in asked:
            body = json.dumps({"models": [{"name": HOSTILE, "size": 9}]}, ensure_ascii=False).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    def ask(self) -> None:
        """Have one chat."""
        asked = json.dumps(
            {"model": HOSTILE, "messages": [{"role": HOSTILE, "content": HOSTILE}], "stream": False},
            ensure_ascii=False,
        ).encode()
        path = f"/api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(asked)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(b"POST " + path.encode() + asked)
            while client.recv(1 << 20):
                pass

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def evil(world: World) -> Iterator[World]:
    """A desk in which every name and every text is hostile, with a run, an exchange, logs and an item."""
    server = EvilServer()
    folder = world.folder
    quoted = json.dumps(HOSTILE)
    (folder / NAME).mkdir()
    (folder / NAME / f"{NAME}.mp3").write_text("x")
    (folder / f"{NAME}.log").write_bytes(
        f"{HOSTILE}\n[3/9] Processing {HOSTILE}\nERROR {HOSTILE}\n".encode() * 3
    )
    (folder / "long.log").write_bytes(LONG.encode() * 5)
    (folder / b"bad\xff\x9b31m.log".decode("utf-8", "surrogateescape")).write_bytes(b"\xff\x9b31m\x1b[2J\n")
    script = folder / "talk.py"
    script.write_text(
        f"import sys, time\nprint({HOSTILE!r}, {LONG!r}, flush=True)\n"
        f"sys.stderr.write({HOSTILE!r})\ntime.sleep(60)\n"
    )
    (folder / "nightdesk.toml").write_text(
        f"[desk]\nname = {quoted}\n[sensors]\nsource = 'off'\n[capture]\nports = [{server.port}]\n"
        f"[watch]\nlogs = ['*.log']\nprocesses = ['{MARK}']\n"
        f"[jobs.talk]\ncommand = '''{sys.executable} talk.py'''\n"
        f"description = {quoted}\n"
        f"[jobs.each]\ndescription = {quoted}\n"
        f"command = 'python3 -c pass {{item}}'\nitems = '*/*.mp3'\nsingle = 'false {{item}}'\n",
        encoding="utf-8",
    )
    # The kernel's name of a process is its file's, at most 15 bytes.
    sleep = folder / f"{MARK}\x1b]0;x\x07\x9b3"
    shutil.copy("/bin/sleep", sleep)
    process = subprocess.Popen([NAME, "60"], executable=sleep, env=world.env)
    world.run("up")
    until(lambda: "starting" not in world.run("status").stdout, "the sources")
    server.ask()
    (folder / "evil.pcap").write_bytes(capture_file())
    (folder / "evil.json").write_text(json.dumps({"card0": {"Card Series": HOSTILE, "GPU use (%)": "5"}}))
    world.run("run", "talk")
    world.run("run", "each", "--item", f"{NAME}/{NAME}.mp3", "--wait", check=False)
    yield world
    process.kill()
    process.wait()
    server.close()


def harmless(output: bytes) -> None:
    """Nothing in ``output`` can command a terminal."""
    text = output.decode()
    found = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert not found, repr(text[max(0, found.start() - 60) : found.end() + 60])


def output_of(world: World, *words: str) -> bytes:
    """Everything that a command prints."""
    done = subprocess.run(
        [NIGHTDESK, *words], env=world.env, cwd=world.folder, capture_output=True, timeout=60, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.stdout + done.stderr


def exchange_of(world: World) -> str:
    """The number of the recorded exchange."""
    if os.getuid():
        pytest.skip("only root may capture on loopback here")
    lines = until(lambda: world.run("traffic", "--json").stdout.splitlines(), "the exchange")
    return str(json.loads(lines[-1])["id"])


def test_no_verb_prints_anything_that_commands_a_terminal(evil: World) -> None:
    number = exchange_of(evil)
    logs = [file["name"] for file in map(json.loads, evil.run("logs", "--json").stdout.splitlines())]
    verbs = [
        ["status"], ["ps", "--all"], ["ps"], ["jobs"], ["logs"], ["logs", "talk"], ["traffic"], ["show", number],
        ["config", "show"], ["config", "path"], ["config", "validate"], ["doctor"], ["up"], ["wait", "each"],
        ["run", HOSTILE], ["run", "each", "--item", HOSTILE], ["run", "each", "--dry-run"], ["stop", HOSTILE],
        ["--set", HOSTILE, "status"], ["--desk", HOSTILE, "status"], [HOSTILE], ["capture", HOSTILE],
        ["capture", "evil.pcap"], ["sensors", "--replay", "evil.json"],
        ["sensors", "--replay", f"{NAME}.log"], ["config", "show", "--desk", HOSTILE],
        *(["logs", name] for name in logs),
    ]  # fmt: skip
    for words in verbs:
        harmless(output_of(evil, *words))
    shown = output_of(evil, "ps") + output_of(evil, "jobs") + output_of(evil, "logs", "talk")
    assert shown.count(MARK.encode()) >= 2
    assert MARK.encode() in output_of(evil, "show", number)


def test_json_is_valid_and_its_controls_are_escaped(evil: World) -> None:
    number = exchange_of(evil)
    verbs = [
        ["status"], ["ps", "--all"], ["jobs"], ["logs"], ["logs", "talk"], ["traffic"], ["show", number],
        ["config", "show"], ["config", "validate"], ["doctor"], ["wait", "each"], ["capture", "evil.pcap"],
        ["sensors", "--replay", "evil.json"],
    ]  # fmt: skip
    for words in verbs:
        printed = subprocess.run(
            [NIGHTDESK, *words, "--json"],
            env=evil.env,
            cwd=evil.folder,
            capture_output=True,
            timeout=60,
            check=False,
        ).stdout
        harmless(printed)
        assert all(map(json.loads, printed.splitlines())), words
    (desk,) = map(json.loads, evil.run("status", "--json").stdout.splitlines())
    assert desk["desk"]["name"] == HOSTILE


def test_init_in_a_hostile_folder_writes_a_valid_file(world: World) -> None:
    folder = world.folder / NAME
    (folder / "scripts").mkdir(parents=True)
    (folder / NAME).mkdir()
    for name in (f"{NAME}.log", f"scripts/{NAME}.py", f"{NAME}/{NAME}.mp3", f"{NAME}.mp3", f"{NAME}/a.log"):
        (folder / name).touch()
    harmless(output_of(world, "init", str(folder)))
    harmless((folder / "nightdesk.toml").read_bytes())
    harmless(output_of(world, "--desk", str(folder), "config", "validate"))
    assert world.run("--desk", str(folder), "config", "validate").returncode == 0


def unforced(output: bytes) -> None:
    """What a full-screen program wrote holds only the controls of the program itself."""
    for mark in FORBIDDEN:
        at = output.find(mark)
        assert at < 0, output[max(0, at - 80) : at + 40]
    assert b"Traceback" not in output


def step(screen: Terminal, key: bytes, text: str) -> None:
    """Press a key and wait until ``text`` is drawn; without a text, until the screen had time to draw."""
    before = len(screen.output)
    screen.write(key)
    if not text:
        screen.drain(0.4)
        return

    def drawn() -> str:
        with contextlib.suppress(OSError):
            screen.drain(0.1)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.output[before:].decode(errors="replace"))

    until(lambda: text in drawn(), f"{text!r} after {key!r}", 20)


ESCAPE = (b"\x1b", "")
TOUR: dict[str, tuple[str, list[tuple[bytes, str]]]] = {
    "desk": (
        "talk",
        [(b"?", "Jobs"), ESCAPE, (b"\x10", "Search"), (b"talk", "Start talk"), ESCAPE, (b"2", ""), (b"4", ""),
         (b"a", ""), (b"5", ""), (b"]", ""), (b"]", ""), (b"1", "")],
    ),
    "traffic": (
        "1 done",
        [(b"\r", "Exchange 1"), (b"1", ""), (b"2", ""), (b"3", "thinking"), (b"4", "stream"),
         (b"5", ""), (b"6", "connection"), ESCAPE],
    ),
    "jobs": (
        "each (1)",
        [(b"j", ""), (b"\r", "Job each"), ESCAPE, (b"t", "One item of each"), ESCAPE, (b"k", ""),
         (b"x", "Stop run talk"), ESCAPE, (b"K", "Kill run talk"), ESCAPE],
    ),
    "machine": (
        "watched",
        [(b"/", ""), (b"EVIL\r", ""), (b"x", "SIGTERM"), ESCAPE, (b"K", "SIGKILL"), ESCAPE, (b"a", "")],
    ),
    "logs": (
        ".log",
        [(b"]", ""), (b"]", ""), (b"]", ""), (b"]", ""), (b"g", ""), (b"G", ""),
         (b"/", ""), (b"EVIL\r", ""), (b"n", "")],
    ),
}  # fmt: skip
"""Mode → text that shows that it is there, and keys with what they bring on the screen."""


@pytest.mark.parametrize("mode", TOUR)
def test_no_pane_and_no_dialog_lets_anything_through(
    evil: World, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in evil.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(evil.folder)
    began, steps = TOUR[mode]
    if mode == "traffic":
        exchange_of(evil)
    with terminal([NIGHTDESK, "--mode", mode], 160, 48) as screen:
        step(screen, b"", began)
        for key, text in steps:
            step(screen, key, text)
        unforced(screen.output)
        assert MARK.encode() in screen.output
        screen.write(b"q")
        assert screen.wait_for(b"viewer closed", 10) is not None, screen.output[-2000:]


def test_a_terminal_that_reads_single_bytes_gets_none_that_is_a_control(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In UTF-8 the second byte of this letter is CSI for a terminal of the C locale.
    (world.folder / "nightdesk.toml").write_text(
        "[desk]\nname = 'before ě31m after'\n[capture]\nsource = 'off'\n[sensors]\nsource = 'off'\n"
        "[jobs.each]\ncommand = 'echo ě31m'\n",
        encoding="utf-8",
    )
    for name, value in world.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(world.folder)
    for words in ([], ["jobs"], ["jobs", "--json"], ["status"]):
        with terminal(["env", "LC_ALL=C", NIGHTDESK, *words], 120, 40) as screen:
            step(screen, b"", "each" if words != ["status"] else "before")
            with contextlib.suppress(OSError):  # a command has ended by now, and its terminal with it
                screen.drain(0.2)
            assert screen.output.isascii(), screen.output
