"""One HTTP request on a Unix socket, for commands that must answer at once.

Importing httpx costs 70 ms and http.client 30 ms, more than all the rest of ``nightdesk status``. The engine is
the only server ever asked, and it answers an HTTP/1.0 request with a head and a body that ends with the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from nightdesk.model.errors import EngineUnavailableError

CONNECT_SECONDS = 2.0
READ_BYTES = 262_144
HEAD_LIMIT = 65_536


def exchange(
    path: Path,
    method: str,
    target: str,
    query: dict[str, str | int] | None,
    body: bytes | None,
    seconds: float,
) -> tuple[int, Iterator[bytes]]:
    """Status and body (in pieces, as they come) of one request.

    ``seconds`` is the longest silence. Raises EngineUnavailableError when nobody answers.
    """
    request = _request(method, target, query, body)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(str(path))
        connection.settimeout(seconds)
        connection.sendall(request)
        head, rest = _read_head(connection)
        status = int(head.split(b" ", 2)[1])
    except (OSError, ValueError, IndexError) as fault:
        connection.close()
        raise _unavailable(path, fault) from fault
    return status, _body(connection, rest, path)


def _request(method: str, target: str, query: dict[str, str | int] | None, body: bytes | None) -> bytes:
    asked = f"{target}?{urlencode(query)}" if query else target
    lines = [f"{method} {asked} HTTP/1.0", "Host: nightdesk"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    read = b""
    while b"\r\n\r\n" not in read:
        data = connection.recv(READ_BYTES)
        if not data or len(read) > HEAD_LIMIT:
            raise OSError("the answer has no head")
        read += data
    head, _, rest = read.partition(b"\r\n\r\n")
    return head, rest


def _body(connection: socket.socket, rest: bytes, path: Path) -> Iterator[bytes]:
    with connection:
        data = rest
        while True:
            if data:
                yield data
            try:
                data = connection.recv(READ_BYTES)
            except OSError as fault:
                raise _unavailable(path, fault) from fault
            if not data:
                return


def _unavailable(path: Path, fault: Exception) -> EngineUnavailableError:
    if isinstance(fault, TimeoutError):
        return EngineUnavailableError(
            f"The engine at {path} did not answer in time.",
            "Look at its log: nightdesk doctor names the file.",
        )
    return EngineUnavailableError(f"No engine answers at {path}.", "Start one with: nightdesk up")
