"""The formats of an export: what begins the file, what one exchange becomes, what stands between, what ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from nightdesk.export import dataset, har
from nightdesk.export.redaction import Redactor
from nightdesk.model.base import Json
from nightdesk.model.exchange import Exchange

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Format:
    """A file of exchanges, written piece by piece."""

    piece: Callable[[Exchange], Json | None]
    """What an exchange becomes; None where it has no place in this format."""
    head: bytes = b""
    joint: bytes = b"\n"
    tail: bytes = b""

    def encoded(self, exchange: Exchange, redactor: Redactor) -> bytes | None:
        """The piece as JSON, redacted."""
        made = self.piece(exchange)
        if made is None:
            return None
        return _encode(made if redactor.is_idle else redactor.value(msgspec.to_builtins(made)))


_HAR_HEAD = b'{"log":' + _encode(har.HEAD)[:-1] + b',"entries":[\n'

JSONL = Format(piece=lambda exchange: exchange, tail=b"\n")
HAR = Format(piece=har.entry, head=_HAR_HEAD, joint=b",\n", tail=b"\n]}}\n")
DATASET = Format(piece=dataset.sample, tail=b"\n")
