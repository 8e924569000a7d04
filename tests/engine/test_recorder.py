"""The lines of the capture process when the name of a client comes in the middle of its reply."""

from __future__ import annotations

import os

from nightdesk.core.capture.exchanges import Assembler
from nightdesk.engine.capture.lives import Owner
from nightdesk.engine.capture.owners import Answer, Owners
from nightdesk.engine.capture.recorder import Recorder
from nightdesk.model.exchange import ExchangeGrew, ExchangeSeen, capture_decoder
from nightdesk.model.process import ProcessRef
from tests.support.wire import STREAM_HEAD, Talk, piece, request

CLIENT = Owner(ProcessRef(pid=7, started_ns=1, name="python", command="python x.py"), "r-1", None)
SERVER = ProcessRef(pid=8, started_ns=1, name="ollama", command="ollama serve")


class LateOwners(Owners):
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.ready: list[Answer] = []

    def ask(self, connection: int, client: str, server: str) -> None:
        self.waiting = Answer(connection, CLIENT, server, SERVER)

    def answers(self) -> list[Answer]:
        ready, self.ready = self.ready, []
        return ready


def test_text_that_came_while_the_client_was_looked_up_is_not_lost() -> None:
    reading, writing = os.pipe()
    owners = LateOwners()
    recorder = Recorder(Assembler(frozenset({11434})), owners, writing)
    talk = Talk().open().send(request({"model": "m", "prompt": "x"})).answer(STREAM_HEAD + piece("one "))
    first = len(talk.frames)
    recorder.take(recorder.assembler.feed_frames(talk.frames[:first]))
    talk.answer(piece("two ")).answer(piece("three"))
    recorder.take(recorder.assembler.feed_frames(talk.frames[first:]))
    owners.ready.append(owners.waiting)
    recorder.absorb()
    recorder.flush()
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        said = [capture_decoder.decode(line) for line in lines]
    text = ""
    for line in said:
        if isinstance(line, ExchangeSeen):
            text = line.exchange.text
            assert (line.exchange.process, line.exchange.run) == (CLIENT.process, "r-1")
            assert line.exchange.server_process == SERVER
        elif isinstance(line, ExchangeGrew):
            text += line.text
    assert text == "one two three"
