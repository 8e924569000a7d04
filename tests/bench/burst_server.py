"""A model server that sends as fast as it is asked to: tokens, one a segment, or bodies of a megabyte.

It prints its port. ``POST /api/generate?RATE&SECONDS`` streams NDJSON at so many lines a second (0: as fast as it
can), and any other path answers with embeddings.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

STEP_S = 0.001
LINE = b'{"model":"m","created_at":"2025-10-09T08:53:20.000000000Z","response":" token","done":false}\n'
CHUNK = b"%x\r\n%b\r\n" % (len(LINE), LINE)
DOCUMENT = b'{"model":"m","embeddings":[[%b]]}' % b",".join([b"0.123456"] * 111_107)
BODY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(DOCUMENT),
    DOCUMENT,
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def main() -> None:
    """Serve until killed."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        while request := connection.recv(65_536):
            path, _, wish = request.split(b" ", 2)[1].partition(b"?")
            if path == b"/api/generate":
                rate, _, seconds = wish.partition(b"&")
                _stream(connection, int(rate), float(seconds))
            else:
                connection.sendall(BODY)


def _stream(connection: socket.socket, rate: int, seconds: float) -> None:
    connection.sendall(HEAD)
    send, sent, passed = connection.sendall, 0, 0.0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        due = int((passed + STEP_S) * rate) if rate else sent + 200
        for _ in range(min(due - sent, 2_000)):
            send(CHUNK)
            sent += 1
        if rate and due <= sent:
            time.sleep(STEP_S)
    last = b'{"model":"m","done":true,"eval_count":%d,"eval_duration":%d}\n' % (sent, int(passed * 1e9))
    send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))


if __name__ == "__main__":
    main()
