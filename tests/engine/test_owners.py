"""Who is at the client's end of a connection: real processes, real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nightdesk.engine.capture import holders
from nightdesk.engine.capture.connects import Connects, Opened, Opening
from nightdesk.engine.capture.holders import Holders
from nightdesk.engine.capture.lives import Lives, Owner, listen_for_births
from nightdesk.engine.capture.owners import TWO, Answer, Owners, Senses
from nightdesk.engine.capture.servers import Servers

CLIENT = """
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
c.recv(1)
"""
LINUX_ONLY = pytest.mark.skipif(not holders.LINUX, reason="reads /proc, which only Linux has")


@contextmanager
def connected(
    *launcher: str, host: str = "127.0.0.1", **env: str
) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """A client process with an open connection, and the addresses of both ends."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        argv = [*launcher, sys.executable, "-c", CLIENT, host, str(port)]
        with subprocess.Popen(argv, env={**os.environ, **env}) as client:
            server.settimeout(20)
            accepted, peer = server.accept()
            with accepted:
                shown = f"[{host}]" if family == socket.AF_INET6 else host
                yield client, f"{shown}:{peer[1]}", f"{shown}:{port}"
            client.wait(20)


def described(pid: int) -> Owner:
    """The process with this number, which must be there."""
    owner = Lives().owner(pid)
    assert owner is not None
    return owner


def who(client: str, server: str) -> Owner | None:
    """Who holds the client's end."""
    pid = Holders().find(client, server)
    return Lives().owner(pid) if pid else None


def test_a_client_is_found_with_its_run_and_item() -> None:
    with connected(NIGHTDESK_RUN="r-7", NIGHTDESK_ITEM="audio/a b.mp3") as (client, here, there):
        owner = who(here, there)
    assert owner is not None and owner.process
    assert owner.process.pid == client.pid
    assert "socket.create_connection" in owner.process.command
    assert (owner.run, owner.item) == ("r-7", "audio/a b.mp3")


@LINUX_ONLY
def test_an_ipv6_client_is_found() -> None:
    with connected(host="::1") as (client, here, there):
        owner = who(here, there)
    assert owner is not None and owner.process and owner.process.pid == client.pid


@LINUX_ONLY
def test_the_run_of_an_ancestor_counts_where_the_client_cleared_its_environment() -> None:
    # The shell stays, because it has something left to do.
    launcher = ("/bin/sh", "-c", 'env -u NIGHTDESK_RUN "$@"; true', "sh")
    with connected(*launcher, NIGHTDESK_RUN="r-8") as (shell, here, there):
        owner = who(here, there)
    assert owner is not None and owner.process
    assert owner.process.pid != shell.pid
    assert owner.run == "r-8"


@LINUX_ONLY
def test_the_tables_of_the_kernel_do_where_it_answers_no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(client: str, server: str) -> int | None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(holders, "_asked_inode", refuse)
    with connected() as (client, here, there):
        owner = who(here, there)
    assert owner is not None and owner.process and owner.process.pid == client.pid


def test_a_connection_that_does_not_exist_has_no_owner() -> None:
    assert who("127.0.0.1:1", "127.0.0.1:2") is None


def test_a_process_outside_of_all_runs_has_none() -> None:
    assert described(1)[1:] == (None, None)


THREADED = """
import socket, sys, threading
def ask():
    c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    c.recv(1)
more = threading.Thread(target=ask)
more.start()
more.join()
"""


@LINUX_ONLY
def test_a_client_that_asks_from_a_thread_is_named_by_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CLIENT", THREADED)
    with connected() as (client, here, there):
        owner = who(here, there)
    assert owner is not None and owner.process and owner.process.pid == client.pid


def test_the_process_behind_a_server_port_is_found_and_noticed_when_another_takes_its_place() -> None:
    serve = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    known, port = Servers(), "0"
    for _ in range(2):
        argv = [sys.executable, "-c", serve, port]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout and server.stdin
            port = server.stdout.readline().strip()
            found = [known.find(f"127.0.0.1:{port}") for _ in range(2)]
            assert [process.pid for process in found if process] == [server.pid] * 2
            server.stdin.close()
    assert known.find(f"127.0.0.1:{port}") is None


def births() -> socket.socket:
    """What tells of new processes; the test is left out where the system does not."""
    listening = listen_for_births()
    if listening is None:
        pytest.skip("this system does not tell of new processes (root and the proc connector are needed)")
    return listening


def test_a_process_that_is_gone_is_remembered_with_its_command_and_the_run_of_its_parent() -> None:
    lives = Lives(births())
    # A shell carries the markers; below it a program begins without any environment. It waits until it was seen.
    argv = ["sh", "-c", 'env -i sh -c "echo \\$\\$; read line"; true']
    marked = {**os.environ, "NIGHTDESK_RUN": "r-5", "NIGHTDESK_ITEM": "one"}
    with subprocess.Popen(argv, env=marked, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin and shell.stdout
        pid = int(shell.stdout.readline())
        lives.hear()
        shell.communicate(b"\n", timeout=20)
    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - a number, no path of ours
    owner = lives.owner(pid)
    lives.close()
    assert owner and owner.process
    assert (owner.process.pid, owner.process.name) == (pid, "sh")
    assert "read line" in owner.process.command
    assert (owner.run, owner.item) == ("r-5", "one")


def test_a_new_program_in_a_process_takes_the_name_of_the_old_one_away() -> None:
    lives = Lives(births())
    argv = ["sh", "-c", "echo ready; read line; exec cat"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline()
        before = lives.owner(process.pid)
        process.stdin.write(b"\nhere\n")
        process.stdin.flush()
        assert process.stdout.readline()
        lives.hear()
        process.communicate(timeout=20)
    after = lives.owner(process.pid)
    lives.close()
    assert before and before.process and before.process.command.startswith("sh -c")
    assert after and after.process
    assert (after.process.name, after.process.command) == ("cat", "cat")
    assert after.process.started_ns == before.process.started_ns


def test_a_program_that_nobody_could_read_has_no_name_but_the_run_of_its_parent() -> None:
    lives = Lives(births())
    marked = {**os.environ, "NIGHTDESK_RUN": "r-6"}
    with subprocess.Popen(
        ["sh", "-c", "sh -c 'echo $$; exec true'; read line"],
        env=marked,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as shell:
        assert shell.stdin and shell.stdout
        pid = int(shell.stdout.readline())
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:  # noqa: PTH110 - a number
            pass
        # Only now are the events read: the process is gone, its parent is not.
        owner = lives.owner(pid)
        shell.communicate(b"\n", timeout=20)
    lives.close()
    assert owner is None or owner.process is None


def connects(*ports: int) -> Connects:
    """What tells who opens connections; the test is left out where the system does not."""
    try:
        return Connects(ports)
    except OSError as fault:
        pytest.skip(f"this system does not tell who opens connections: {fault}")


@LINUX_ONLY
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_tells_who_opens_a_connection_and_says_nothing_about_other_ports(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_server((host, 0), family=family) as other,
    ):
        port = server.getsockname()[1]
        heard, pids = connects(port), []
        argv = [sys.executable, "-c", CLIENT.replace("c.recv(1)", "c.close()"), host]
        for asked in (other, server):
            with subprocess.Popen([*argv, str(asked.getsockname()[1])]) as client:
                assert client.wait(20) == 0
            pids.append(client.pid)
        accepted, peer = server.accept()
        accepted.close()
        events = heard.read()
        heard.close()
    opening, opened = events
    assert isinstance(opening, Opening) and isinstance(opened, Opened)
    assert (opening.pid, opening.socket) == (pids[-1], opened.socket)
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    assert (opened.client, opened.server) == (f"{shown}:{peer[1]}", f"{shown}:{port}")


@LINUX_ONLY
def test_one_answer_names_the_client_that_left_at_once_and_a_second_opening_makes_it_unknown() -> None:
    """The same four numbers from two processes: no guess is made."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        news = threading.Event()
        owners = Owners(news.set, Senses(connects=connects(port), births=births()))
        answers: list[Answer] = []
        script = (
            "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\\1\\0\\0\\0\\0\\0\\0\\0')\n"
            "s.bind(('127.0.0.1', int(sys.argv[2]))); s.connect(('127.0.0.1', int(sys.argv[1])))"
        )
        here, there, pids = 0, f"127.0.0.1:{port}", []
        for number, times in ((1, 1), (2, 2)):
            for _ in range(times):
                with subprocess.Popen([sys.executable, "-c", script, str(port), str(here)]) as client:
                    assert client.wait(20) == 0
                pids.append(client.pid)
                accepted, (_, here) = server.accept()
                accepted.close()
            owners.ask(number, f"127.0.0.1:{here}", there)
            assert news.wait(20)
            news.clear()
            answers += owners.answers()
        owners.close()
    first, second = answers
    assert first.owner and first.owner.process and first.owner.process.pid == pids[0]
    assert "-c import socket" in first.owner.process.command
    assert (second.owner, second.reason) == (None, TWO)
