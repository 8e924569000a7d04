"""Who is at the client's end of a connection: real processes, real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nightdesk.engine.capture import owners
from nightdesk.engine.capture.owners import Finder, find_run
from nightdesk.engine.capture.servers import Servers

CLIENT = """
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
c.recv(1)
"""
LINUX_ONLY = pytest.mark.skipif(not owners.LINUX, reason="reads /proc, which only Linux has")


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


def test_a_client_is_found_with_its_run_and_item() -> None:
    with connected(NIGHTDESK_RUN="r-7", NIGHTDESK_ITEM="audio/a b.mp3") as (client, here, there):
        owner = Finder().find(here, there)
    assert owner is not None
    assert owner.process.pid == client.pid
    assert "socket.create_connection" in owner.process.command
    assert (owner.run, owner.item) == ("r-7", "audio/a b.mp3")


@LINUX_ONLY
def test_an_ipv6_client_is_found() -> None:
    with connected(host="::1") as (client, here, there):
        owner = Finder().find(here, there)
    assert owner is not None and owner.process.pid == client.pid


@LINUX_ONLY
def test_the_run_of_an_ancestor_counts_where_the_client_cleared_its_environment() -> None:
    # The shell stays, because it has something left to do.
    launcher = ("/bin/sh", "-c", 'env -u NIGHTDESK_RUN "$@"; true', "sh")
    with connected(*launcher, NIGHTDESK_RUN="r-8") as (shell, here, there):
        owner = Finder().find(here, there)
    assert owner is not None
    assert owner.process.pid != shell.pid
    assert owner.run == "r-8"


@LINUX_ONLY
def test_the_tables_of_the_kernel_do_where_it_answers_no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(client: str, server: str) -> int | None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(owners, "_asked_inode", refuse)
    with connected() as (client, here, there):
        owner = Finder().find(here, there)
    assert owner is not None and owner.process.pid == client.pid


def test_a_connection_that_does_not_exist_has_no_owner() -> None:
    assert Finder().find("127.0.0.1:1", "127.0.0.1:2") is None


def test_a_process_outside_of_all_runs_has_none() -> None:
    assert find_run(1) == (None, None)


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
        owner = Finder().find(here, there)
    assert owner is not None and owner.process.pid == client.pid


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
