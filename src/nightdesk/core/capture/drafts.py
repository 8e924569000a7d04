"""An exchange in the making: collects what both directions say and builds the :class:`Exchange` that is shown."""

from __future__ import annotations

from itertools import repeat
from typing import Literal

import msgspec

from nightdesk.core.capture.arrivals import Pace
from nightdesk.core.capture.codings import CodingError, Decoder, decoder_for
from nightdesk.core.capture.dialects.choice import GuessingReader, choose
from nightdesk.core.capture.dialects.prompts import read_prompt, without_images
from nightdesk.core.capture.dialects.reader import PlainReader, ReplyReader, fragments_in
from nightdesk.core.capture.dialects.reply import Reply
from nightdesk.core.capture.heads import Head
from nightdesk.core.capture.sides import Bytes, Headers, Side, masked, size_of, value_of
from nightdesk.model.exchange import Dialect, Exchange, ExchangeState, MissingBytes, Operation, Prompt
from nightdesk.model.process import ProcessRef

Record = Literal["full", "metadata", "none"]

READ_LIMIT = 24 << 20
"""Longest JSON document or line that is understood: a final object may carry all token numbers (4.4 MB seen)."""
UNZIP_LIMIT = 24 << 20
"""Longest body after decompression; more is an attack, or was not read anyway."""
END_MARK = b"data: [DONE]"
DRAFT_BYTES = 8 << 10
"""What an exchange costs beside its contents, heads included."""
HEADERS_BYTES = 16 << 10
"""Headers longer than this are given up with the bodies when memory is short; servers mostly refuse them."""

StreamFormat = Literal["ndjson", "sse"]


class Draft:
    """One exchange while its bytes arrive."""

    def __init__(
        self, number: int, connection: int, position: int, record: Record, limit: int, started_ns: int
    ):
        self.number = number
        self.connection = connection
        self.position = position
        self.record = record
        self.limit = limit
        self.request, self.response = Side(), Side()
        self.reply = Reply(limit)
        self._room = limit
        self.reader: ReplyReader = GuessingReader(self.reply)
        self.dialect: Dialect = "http"
        self.operation: Operation = "other"
        self.method: str | None = None
        self.path: str | None = None
        self.asked_model: str | None = None
        self.prompt: Prompt | None = None
        self.status: int | None = None
        self.stream_format: StreamFormat | None = None
        self.started_ns = started_ns
        self.first_byte_ns: int | None = None
        self.first_token_ns: int | None = None
        self.ended_ns: int | None = None
        self.last_ns = started_ns
        """When the newest byte of the response came."""
        self.pace = Pace(started_ns)
        self.acked = -1
        """Place in the server's stream that the client had read when it began this request."""
        self.heard = -1
        """The same, when it sent the newest piece of the request."""
        self.answer_bytes = 0
        """Bytes of the server since a request without framing began."""
        self.request_done = False
        self.is_framed = False
        """The request ended where its head said, so that what followed was not taken for a part of it."""
        self.answered = False
        """The response head, or a part of its body, was seen."""
        self.response_done = False
        self.was_announced = False
        self.is_lossy = False
        """A part is missing although no number of bytes is known."""
        self.began_before = False
        """The capture began inside."""
        self.left_by: Literal["client", "server"] | None = None
        self.state: ExchangeState = "running"
        self.notes: list[str] = []
        self.process: ProcessRef | None = None
        self.run: str | None = None
        self.item: str | None = None
        self.memory = 0
        self.grown_ns = 0
        self._line = Bytes()
        self._skips_line = False
        self._decoder: Decoder | None = None
        self._decoded = 0
        self._is_opaque = False
        self._document = Bytes()
        self._has_read_all = True
        """The document is kept whole, so that it can be understood at its end."""

    def note(self, sentence: str) -> None:
        """Adds a sentence to the record, once."""
        if sentence not in self.notes and len(self.notes) < 8:
            self.notes.append(sentence)

    @property
    def keep_limit(self) -> int:
        """Bytes of each body that stay in the record."""
        return self.limit if self.record == "full" else 0

    @property
    def may_begin(self) -> bool:
        """A token may come before the response is over: not in a document, and in no stream but a model's."""
        if not self.answered or self.status is None:
            return True
        return self.stream_format is not None and type(self.reader) is not PlainReader

    # The request.

    def take_request_head(self, head: Head) -> None:
        """Method, path, and with them the dialect."""
        self.method, self.path = head.start[0], head.start[1]
        self.request.headers = head.headers
        self.memory += size_of(head.headers) + len(self.path)
        self.dialect, self.operation, reader = choose(self.path)
        self.reader = reader(self.reply)

    def take_request_body(self, data: bytes) -> None:
        """The whole body is needed to understand the prompt, whatever is recorded."""
        self.memory += self.request.add(data, self.limit)

    def finish_request(self) -> None:
        """The body is complete: reads the prompt."""
        self.request_done = True
        if self.request.size == 0 or self.method not in (None, "POST"):
            return
        body = self._request_bytes()
        if self.request.size > self.request.kept:
            self.note(
                f"The request body is cut in the record: {self.request.kept} of {self.request.size} bytes."
            )
            return
        operation: Operation = self.operation if self.method else "chat"
        prompt, self.asked_model = read_prompt(self.dialect, operation, body)
        if self.record == "full":
            self.prompt = prompt

    def _request_bytes(self) -> bytes:
        body = self.request.data.whole()
        return self._plain(body, self.request.headers, "request")

    def _plain(self, body: bytes, headers: Headers, side: str) -> bytes:
        coding = value_of(headers, "content-encoding").lower()
        if coding in ("", "identity"):
            return body
        decoder = decoder_for(coding)
        if decoder is None:
            self._note_coding(side, coding)
            return b""
        try:
            return decoder.decode(body, UNZIP_LIMIT)
        except CodingError as fault:
            self.note(f"The {side} body can't be decompressed: {fault}.")
            return b""

    def _note_coding(self, side: str, coding: str) -> None:
        self.note(f"The {side} body is compressed with {coding}, which is not decoded.")

    # The response.

    def take_response_head(self, head: Head, at_ns: int) -> None:
        """Status and format of the body."""
        self.answered = True
        self.first_byte_ns = at_ns if self.first_byte_ns is None else self.first_byte_ns
        self.status = int(head.start[1])
        self.response.headers = head.headers
        self.memory += size_of(head.headers)
        kind = head.get("content-type").partition(";")[0].strip().lower()
        if kind in ("application/x-ndjson", "application/ndjson", "application/jsonl"):
            self.stream_format = "ndjson"
        elif kind == "text/event-stream":
            self.stream_format = "sse"
        coding = head.get("content-encoding").lower()
        if coding not in ("", "identity"):
            self._decoder = decoder_for(coding)
            self._is_opaque = self._decoder is None
            if self._is_opaque:
                self._note_coding("response", coding)

    def take_response_body(self, data: bytes, at_ns: int) -> None:
        """Bytes of the body that came at one time, in order."""
        before = self.reply.fragments
        self.last_ns = max(self.last_ns, at_ns)
        self._take_body(data)
        self.pace.add([self.last_ns] * (self.reply.fragments - before))

    def take_response_parts(self, data: bytes, parts: list[bytes], times: list[int]) -> None:
        """Bytes of the body, in parts that came at these times. Whole fragments are read all at once."""
        end = b"\n" if self.stream_format == "ndjson" else b"\n\n"
        if self._decoder or self._line.size or not all(map(bytes.endswith, parts, repeat(end))):
            for part, at_ns in zip(parts, times, strict=True):
                self.take_response_body(part, at_ns)
            return
        if parts[-1].startswith(END_MARK) and len(parts) > 1:
            self.take_response_parts(data[: -len(parts[-1])], parts[:-1], times[:-1])
            self.take_response_body(parts[-1], times[-1])
            return
        before = self.reply.fragments
        self._take_body(data)
        self.last_ns = max(self.last_ns, times[-1])
        if self.reply.fragments - before != len(parts) or data.count(end) != len(parts):
            counts = map(fragments_in, parts, repeat(end))
            times = [at_ns for at_ns, count in zip(times, counts, strict=True) for _ in range(count)]
        self.pace.add(times)

    def _take_body(self, data: bytes) -> None:
        self.answered = True
        self.memory += self.response.add(data, self.keep_limit)
        if self._decoder is not None:
            data = self._decode(self._decoder, data)
        if self._is_opaque:
            return
        if self.status is None and self.stream_format is None and data.strip():
            self._guess_format(data)
        if self.stream_format == "ndjson":
            self._take_lines(data)
        elif self.stream_format == "sse":
            self._take_events(data)
        elif self._has_read_all:
            self._document.add(data)
            if self._document.size > READ_LIMIT:
                self._drop_document()
                self.note(f"The response body is longer than {READ_LIMIT} bytes and was not read.")

    def _decode(self, decoder: Decoder, data: bytes) -> bytes:
        try:
            plain = decoder.decode(data, UNZIP_LIMIT - self._decoded)
        except CodingError as fault:
            self.note(f"The response body can't be decompressed: {fault}.")
            self._decoder, self._is_opaque = None, True
            return b""
        self._decoded += len(plain)
        return plain

    def _guess_format(self, data: bytes) -> None:
        """The head was missed."""
        start = data.lstrip()[:6]
        self.stream_format = "sse" if start.startswith((b"data:", b"event:", b":")) else "ndjson"

    def _held_and(self, data: bytes) -> bytes:
        """The unfinished line and what follows; empty while no line end has come, so that long lines cost little."""
        if b"\n" not in data:
            self._line.add(data)
            if self._line.size > READ_LIMIT:
                self._drop_line()
                self._skips_line = True
                self.note(f"A line longer than {READ_LIMIT} bytes was left out.")
            return b""
        whole = self._line.take() + data if self._line.size else data
        self._drop_line()
        return whole

    def _drop_line(self) -> None:
        self._line = Bytes()

    def _drop_document(self) -> None:
        self._document, self._has_read_all = Bytes(), False

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._line.add(rest)

    def _take_lines(self, data: bytes) -> None:
        lines = self._held_and(data)
        if self._skips_line and lines:
            lines, self._skips_line = lines[lines.find(b"\n") + 1 :], False
        end = lines.rfind(b"\n") + 1
        self._hold(lines[end:])
        if end:
            self.reader.read_lines(lines[:end])

    def _take_events(self, data: bytes) -> None:
        block = self._held_and(data)
        if b"\r" in block:
            kept = b"\r" if block.endswith(b"\r") else b""
            block = block[: len(block) - len(kept)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + kept
        end = block.rfind(b"\n\n") + 2
        if end < 2:
            self._hold(block)
            return
        self._hold(block[end:])
        self.reader.read_events(block[:end])

    def take_gap(self, size: int) -> None:
        """Bytes of the response are missing."""
        self.response.missing += size
        if self._decoder is not None:
            self._decoder, self._is_opaque = None, True
            self.note("The response body is compressed and unreadable behind a gap.")
        self._drop_line()
        if self.stream_format is not None or self.status is None:
            self.reply.add_gap(size)
            self._skips_line = self.stream_format == "ndjson"

    def resume(self) -> None:
        """Behind the gap a chunk begins, and with it a line."""
        self._skips_line = False

    def finish_response(self) -> None:
        """The body is over, or no more of it will come: reads what is left."""
        rest, before = self._line.take(), self.reply.fragments
        self._drop_line()
        if rest and self.stream_format == "ndjson" and not self._skips_line:
            self.reader.read_lines(rest)
        elif rest and self.stream_format == "sse" and self.response_done:
            self.reader.read_events(rest.rstrip(b"\r\n") + b"\n\n")
        self.pace.add([self.last_ns] * (self.reply.fragments - before))
        if self.stream_format is None and self.status is not None and self.response.missing:
            self._salvage()
        elif self._document.size:
            self.reader.read_document(self._document.take())
        self.reader.finish()
        if isinstance(self.reader, GuessingReader) and self.reader.guess is not None:
            self.dialect, self.operation = self.reader.guess

    def _salvage(self) -> None:
        """A document with holes can't be understood; its text says at least where they are."""
        self.reply.add_gap(self.response.missing)

    # What is shown.

    def final_state(self, *, at_end: bool) -> ExchangeState:
        """The state of an exchange of which nothing more will come."""
        reply = self.reply
        failed = (self.status or 0) >= 400 or reply.error is not None
        whole = self.response_done or reply.done
        if self.request.missing or self.response.missing or self.is_lossy:
            return "incomplete"
        if self.began_before:
            return "partial"
        if failed and (whole or self.left_by == "client" or reply.error is not None):
            return "failed"
        if whole:
            # An answer without a request that can be read: a part of the exchange was not seen.
            return "complete" if self.method is not None else "partial"
        if self.left_by is not None:
            return "aborted"
        return "partial" if at_end else "incomplete"

    def build(self, client: str, server: str) -> Exchange:
        """The exchange as of now."""
        reply, is_full = self.reply, self.record == "full"
        reply.compact()
        if self.response.size > self.response.kept and is_full:
            self.note(
                f"The response body is cut in the record: {self.response.kept} of {self.response.size} bytes."
            )
        if reply.was_cut:
            self.note("The text is cut in the record.")
        outline = self._outline(client, server)
        if self.record == "none":
            return outline
        outline = msgspec.structs.replace(
            outline,
            request_headers=masked(self.request.headers),
            response_headers=masked(self.response.headers),
        )
        if not is_full:
            return outline
        return msgspec.structs.replace(
            outline,
            text=reply.text(),
            thinking="".join(reply.thinking),
            tool_calls=tuple(reply.tool_calls),
            text_pieces=tuple("".join(piece) for piece in reply.pieces) if reply.gaps else None,
            prompt=self.prompt,
            request_body=self._request_text() if self.request_done else None,
            response_body=self._response_text() if self.state != "running" else None,
        )

    def _outline(self, client: str, server: str) -> Exchange:
        """Everything but content."""
        reply = self.reply
        return Exchange(
            id=self.number,
            state=self.state,
            client_addr=client,
            server_addr=server,
            connection=self.connection,
            position=self.position,
            method=self.method,
            path=self.path,
            dialect=self.dialect,
            operation=self.operation,
            status=self.status,
            streamed=self.stream_format is not None,
            stream_format=self.stream_format,
            fragments=reply.fragments if self.stream_format else 0,
            fragment_gaps_ns=self.pace.gaps() if self.stream_format else (),
            model=reply.model or self.asked_model,
            text="",
            thinking="",
            tool_calls=(),
            embeddings=reply.embeddings,
            logprobs=reply.logprobs,
            statuses=tuple(reply.statuses),
            transfer=reply.transfer,
            done=reply.done,
            done_reason=reply.done_reason,
            error=reply.error,
            prompt_tokens=reply.prompt_tokens,
            reply_tokens=reply.reply_tokens,
            load_ns=reply.load_ns,
            prompt_ns=reply.prompt_ns,
            generation_ns=reply.generation_ns,
            total_ns=reply.total_ns,
            started_ns=self.started_ns,
            first_byte_ns=self.first_byte_ns,
            first_token_ns=self.first_token_ns,
            ended_ns=self.ended_ns,
            request_bytes=self.request.size,
            request_sha256=self.request.tally.hexdigest(),
            response_bytes=self.response.size,
            response_sha256=self.response.tally.hexdigest(),
            missing_bytes=MissingBytes(request=self.request.missing, response=self.response.missing),
            aborted_by=self.left_by if self.state == "aborted" else None,
            process=self.process,
            run=self.run,
            item=self.item,
            verdicts=(),
            note=" ".join(self.notes) or None,
            unknown={"fragment_gaps_ns": self.pace.why} if self.stream_format and self.pace.why else {},
        )

    def _request_text(self) -> str | None:
        if not self.request.kept:
            return None
        text = self._request_bytes()[: self.limit].decode("utf-8", "replace")
        return without_images(text) if self.operation in ("chat", "generate") else text

    def _response_text(self) -> str | None:
        if not self.response.kept or self.reply.embeddings is not None:
            # Of vectors only number and length are of interest; the hash tells whether two were alike.
            return None
        body = self.response.data.whole()
        if not self.response.missing:
            body = self._plain(body, self.response.headers, "response")[: self.limit]
        return body.decode("utf-8", "replace")

    @property
    def held_bytes(self) -> int:
        """Everything that is kept of the exchange so far: bodies, text, and a line that has not ended."""
        return (
            self.memory
            + self._line.size
            + self._document.size
            + self._room
            - max(0, self.reply.room)
            + self.pace.held_bytes
        )

    def shed(self) -> int:
        """Gives up the kept bodies because memory is short; returns how many bytes that frees."""
        freed = self.held_bytes
        self.request.drop()
        self.response.drop()
        self.pace.drop("Too much was in flight at once.")
        if self._line.size:
            self._drop_line()
            self._skips_line = True
        if self._document.size:
            self._drop_document()
        for side in (self.request, self.response):
            side.headers = () if size_of(side.headers) > HEADERS_BYTES else side.headers
        self.prompt = None
        self._room -= max(0, self.reply.room)
        self.reply.room = 0
        self.limit = 0
        self.memory = 0
        self.note("Bodies are not in the record: too much was in flight at once.")
        return freed

    def release(self) -> None:
        """Frees the contents once the exchange was handed out for the last time."""
        self.request.drop()
        self.response.drop()
        self.memory = 0
