"""What each recorded exchange deserves: read and labelled by hand. Exchanges that are not named deserve nothing."""

from __future__ import annotations

from pathlib import Path

from nightdesk.core.capture.exchanges import Assembler
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.core.verdicts import Known, verdicts_of
from nightdesk.model.exchange import Exchange, ExchangeSeen

FOLDER = Path(__file__).parents[2].parent / "shared" / "fixtures" / "ollama"
CUT, ERROR = frozenset({"reply_cut"}), frozenset({"server_error"})
CUT_JSON = frozenset({"reply_cut", "bad_json"})

LABELS: dict[str, dict[int, frozenset[str]]] = {
    # 5, 6, 7: num_predict 30, 12 and 60 were reached in the middle of a sentence.
    "01-generate-stream": dict.fromkeys((5, 6, 7), CUT),
    "03-chat-multiturn-keepalive": {},
    # 16-19: format was given, num_predict 300 or 200 ended the reply inside a string. 1, 3, 4, 5, 7 are tool calls
    # without text, 13 and 14 thinking and tool calls without text.
    "05-tools-and-format": dict.fromkeys((16, 17, 18, 19), CUT_JSON),
    # 9: 6,000 letters became 512 tokens, the model's context. 3 is a batch of 10,067 tokens that was not cut.
    "06-embed": {9: frozenset({"context_cut"}), 10: ERROR, 11: ERROR},
    # max_tokens was reached; 17 asks for a model that is not there.
    "07-openai-anthropic-compat": {**dict.fromkeys((2, 6, 7, 12, 23, 29), CUT), 17: ERROR},
    # 27: num_predict 5. 33, 34 are answered well. 35-38 end in thirty equal words and the repeat guard. 39, 41, 43, 45,
    # 47, 49, 51 load a model. 40, 42, 52: the runner was killed, told inside a 200 stream; 46, 48, 50: not told.
    "09-errors": {
        **dict.fromkeys([*range(1, 27), 28, 29, 30, 31, 32, 44], ERROR),
        **dict.fromkeys((35, 36, 37, 38), frozenset({"loop"})),
        **dict.fromkeys((40, 42, 52), frozenset({"error_in_stream"})),
        **dict.fromkeys((46, 48, 50), frozenset({"unfinished"})),
    },
    # 2-9: the user ended a stream, and the server noticed at once. 10: gone before a reply in one piece came. 11: gone
    # inside its own request. 12: closed its half, and was taken for gone.
    "10-client-abort": dict.fromkeys((10, 12), frozenset({"client_gone"})),
    "11-concurrency-16": dict.fromkeys((8, 11, 15), CUT),
    # All sixteen were given num_predict 60, and the model never stops by itself.
    "11b-concurrency-16-interleaved": dict.fromkeys(range(1, 17), CUT),
    "14-ipv6": {6: CUT, 10: ERROR},
}


def ended(path: Path) -> list[Exchange]:
    """The exchanges of a capture in the order in which they ended."""
    assembler = Assembler(None, grow_every_ns=None)
    events = [*assembler.feed_bursts(PcapReader().bursts(path.read_bytes())), *assembler.finish(0)]
    seen = [event.exchange for event in events if isinstance(event, ExchangeSeen)]
    return [exchange for exchange in seen if exchange.state != "running"]


def judged(path: Path) -> list[tuple[Exchange, frozenset[str]]]:
    """Each exchange with the kinds that are found; what one teaches is used for the next."""
    known, found = Known(), []
    for exchange in ended(path):
        found.append((exchange, frozenset(one.kind for one in verdicts_of(exchange, known=known))))
        known.learn(exchange)
    return found
