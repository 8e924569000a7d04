"""An engine that dies in the middle of an answer, or is none, becomes one sentence."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightdesk.client.engine import Engine
from nightdesk.model.errors import EngineUnavailableError

CUT = [
    b"",
    b"HTTP/1.0 200",
    b"nonsense\r\n\r\n",
    b"HTTP/1.0 two hundred\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b'HTTP/1.0 200 OK\r\n\r\n{"desk": {"na',
    b'HTTP/1.0 200 OK\r\n\r\n{"other": 1}',
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A path for a socket that is short enough."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder:
        yield Path(folder) / "engine.sock"


@pytest.mark.parametrize("answer", CUT)
def test_a_cut_answer_is_an_engine_that_is_not_there(place: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(place))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(EngineUnavailableError) as caught:
            Engine(place).status()
        server.join()
    assert caught.value.hint
