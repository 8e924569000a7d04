"""Pairs the requests and responses of one connection: takes stream bytes from both sides, drives the drafts.

Responses come in the order of the requests. Where packets are missing, the place in the server's stream up to which
the client had read when it sent a request says which response a byte can belong to: nothing before that place
answers the request, and (without pipelining) nothing behind it answers the one before.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from nightdesk.core.capture.arrivals import Arrival
from nightdesk.core.capture.drafts import Draft
from nightdesk.core.capture.heads import Head
from nightdesk.core.capture.http1 import Began, Body, End, Event, Gap, MessageReader, Resumed
from nightdesk.core.capture.lanes import MASK, distance

_METHOD = re.compile(rb"[A-Z]{3,10} [/*h]")

UNKNOWN_PLACE = -2
"""The request itself was lost: how far the client had read is unknown."""
CONTINUE_BYTES = 64
"""An interim answer (``HTTP/1.1 100 Continue``) that a client reads in the middle of its request is shorter."""
WAITING_LIMIT = 256
"""Pipelined requests without an answer; beyond it the oldest are given up."""


class Connection:
    """One HTTP connection. The three callbacks make drafts, and are told of their progress and their end."""

    def __init__(
        self,
        begin: Callable[[int], Draft],
        progress: Callable[[Draft, int, bool], None],
        end: Callable[[Draft, int], None],
        *,
        is_guess: bool = False,
    ) -> None:
        self._is_guess = is_guess
        """Nobody said that this port speaks HTTP."""
        self._begin_draft = begin
        self._progress = progress
        self._end_draft = end
        self._requests = MessageReader("request")
        self._responses = MessageReader("response", self._is_bodiless)
        self._waiting: deque[Draft] = deque()
        self._sending: Draft | None = None
        self._client_left_ns = 0
        self._server_left_ns = 0
        self._began_before = False
        self._answered = 0
        self._place = 0
        """Place in the server's stream of the bytes that are being read."""
        self._begins = 0
        """Place in the server's stream where the newest response began."""
        self._answer_missing = 0
        self.is_recognised = False
        """HTTP was seen: the connection deserves attention."""

    def begins_inside(self) -> None:
        """The capture starts in the middle of the connection."""
        self._began_before = True
        self._responses.begin_lost()
        self._requests.begin_lost()

    def conflict(self) -> None:
        """A packet came again with other bytes."""
        for draft in list(self._waiting)[:1]:
            draft.note("A packet came twice with different bytes; the first copy was taken.")

    def has_answer(self) -> bool:
        """The response in work has begun, or none is awaited."""
        return not self._waiting or self._waiting[0].answered

    @property
    def held_bytes(self) -> int:
        """Bytes of messages whose next part can't be read yet."""
        return self._requests.held_bytes + self._responses.held_bytes

    @property
    def waiting(self) -> deque[Draft]:
        """Exchanges without a complete answer, oldest first."""
        return self._waiting

    # The client's side.

    def request_data(self, data: bytes, at_ns: int, acked: int) -> None:
        """Bytes of the client."""
        if not self.is_recognised and self._is_foreign(data):
            return
        self._part_requests(at_ns, acked)
        for event in self._requests.feed(data):
            self._take_request(event, at_ns, acked)
        if self._sending is not None:
            self._sending.heard = acked

    def _part_requests(self, at_ns: int, acked: int) -> None:
        """Without framing, what the client sends after it got an answer is the next request."""
        draft = self._sending
        if draft is None or not self._requests.is_lost:
            return
        if draft.answer_bytes > CONTINUE_BYTES or (
            min(draft.heard, acked) >= 0 and distance(acked, draft.heard) > CONTINUE_BYTES
        ):
            for event in self._requests.cut(0):
                self._take_request(event, at_ns, acked)

    def _is_foreign(self, data: bytes) -> bool:
        """In the middle of an unknown request nothing can be understood: its answer makes the exchange."""
        if self._sending is not None or not (self._is_guess or self._began_before):
            return False
        return _METHOD.match(data) is None

    def _count_answer(self, size: int) -> None:
        if self._sending is not None and self._requests.is_lost:
            self._sending.answer_bytes += size

    def request_gap(self, size: int, at_ns: int) -> None:
        """The client sent bytes that are not in the capture."""
        self._part_requests(at_ns, -1)
        for event in self._requests.gap(size):
            self._take_request(event, at_ns, -1)

    def _take_request(self, event: Event, at_ns: int, acked: int) -> None:
        match event:
            case Began():
                self._open_request(at_ns, acked)
            case Head() if self._sending is not None:
                self.is_recognised = True
                self._sending.take_request_head(event)
                self._progress(self._sending, at_ns, True)
            case Body() if self._sending is not None:
                self._sending.take_request_body(event.data)
            case Gap():
                # A gap between two requests holds at least the head of one.
                draft = self._sending or self._open_request(at_ns, UNKNOWN_PLACE)
                draft.request.missing += event.size
            case End() if self._sending is not None:
                self._sending.is_framed = event.clean
                self._close_request(at_ns)

    def _open_request(self, at_ns: int, acked: int) -> Draft:
        draft = self._begin_draft(at_ns)
        draft.acked = acked
        self._sending = draft
        self._waiting.append(draft)
        if len(self._waiting) > WAITING_LIMIT:
            draft = self._waiting.popleft()
            draft.is_lossy = True
            self._finish(draft, at_ns)
        return draft

    def _close_request(self, at_ns: int) -> None:
        draft, self._sending = self._sending, None
        if draft is not None:
            draft.finish_request()
            if draft.response_done:
                self._retire(draft, at_ns)
            else:
                self._progress(draft, at_ns, True)

    # The server's side.

    def response_data(self, pieces: list[bytes], times: list[int], place: int) -> None:
        """Bytes of the server; ``place`` is the sequence number of the first."""
        if self._client_left_ns and not self._waiting:
            return
        if len(pieces) == 1 or (self._waiting and self._awaits_token()):
            # Piece by piece until the first token, for its exact time.
            for index, piece in enumerate(pieces):
                if index and self._waiting and not self._awaits_token():
                    self._feed(pieces[index:], times[index:], place)
                    return
                self._feed([piece], [times[index]], place)
                place = (place + len(piece)) & MASK
            return
        self._feed(pieces, times, place)

    def _awaits_token(self) -> bool:
        """The first token may come in the middle of what comes next."""
        draft = self._waiting[0]
        return draft.first_token_ns is None and (len(self._waiting) > 1 or draft.may_begin)

    def _feed(self, pieces: list[bytes], times: list[int], place: int) -> None:
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._count_answer(len(data))
        clock = Arrival(pieces, times)
        self._place = place
        if self._responses.is_lost and len(self._waiting) > 1:
            split = self._boundary(place, 0)
            if self._is_boundary() and 0 <= split < len(data):
                self._take_all(self._responses.feed(data[:split]), clock)
                if self._responses.is_lost:
                    self._end_first(0, clock)
                data = data[split:]
                clock.skip(split)
                self._place = (place + split) & MASK
        self._take_all(self._responses.feed(data), clock)

    def _take_all(self, events: list[Event], clock: Arrival) -> None:
        for event in events:
            self._take_response(event, clock.at(event.at), clock)

    def _is_boundary(self) -> bool:
        """The client had read on before it sent its second request: it does not pipeline."""
        first, second = self._waiting[0].acked, self._waiting[1].acked
        return second == UNKNOWN_PLACE or (second >= 0 and (first < 0 or distance(second, first) > 0))

    def _boundary(self, place: int, unknown: int) -> int:
        """How far behind ``place`` the answer to the second request may begin; ``unknown`` if it was in a gap itself.

        A lost request is reported when all answers to older ones were delivered, save those that are missing too.
        """
        second = self._waiting[1].acked
        return unknown if second == UNKNOWN_PLACE else distance(second, place)

    def response_gap(self, size: int, at_ns: int, place: int) -> None:
        """The server sent bytes that are not in the capture."""
        self._count_answer(size)
        clock = Arrival([b""], [at_ns])
        while len(self._waiting) > 1 and self._is_boundary():
            split = self._boundary(place, size)
            if split < 0 or split > size:
                break
            self._end_first(split, clock)
            size, place = size - split, (place + split) & MASK
        if size:
            self._take_all(self._responses.gap(size), clock)

    def _end_first(self, size: int, clock: Arrival) -> None:
        """The answer to the oldest request ends within the next ``size`` bytes, which are missing."""
        first = self._waiting[0]
        self._take_all(self._responses.cut(size), clock)
        if self._waiting and self._waiting[0] is first:
            self._give_up_first(clock.at(0))

    def _give_up_first(self, at_ns: int) -> None:
        """The answer to the oldest request, or its end, is in a gap."""
        if len(self._waiting) > 1:
            draft = self._waiting.popleft()
            draft.is_lossy = True
            draft.response.missing += self._answer_missing
            self._answer_missing = 0
            self._finish(draft, at_ns)

    def _answering(self, at_ns: int) -> Draft:
        """The exchange that the response belongs to; a new one where the capture missed the request."""
        if not self._waiting:
            draft = self._begin_draft(at_ns)
            draft.began_before = self._began_before and not self._answered
            draft.is_lossy = not draft.began_before
            self._waiting.append(draft)
        return self._waiting[0]

    def _make_way(self, at_ns: int) -> None:
        """A response that the client had read before it asked answers a request that the capture missed.

        One that begins where the client had read to when it asked again is no answer to the older request.
        """
        begins = self._begins
        while len(self._waiting) > 1 and self._waiting[1].acked >= 0 and self._is_boundary():
            if distance(self._waiting[1].acked, begins) > 0:
                break
            self._give_up_first(at_ns)
        first = self._waiting[0] if self._waiting else None
        if first is None or first.acked < 0 or first.first_byte_ns is not None:
            return
        if distance(begins, first.acked) < 0:
            self._answer_unseen(at_ns)

    def _answer_unseen(self, at_ns: int) -> None:
        """What comes now answers a request that nobody saw."""
        rest, self._waiting = self._waiting, deque()
        self._answering(at_ns)
        self._waiting.extend(rest)

    def _take_response(self, event: Event, at_ns: int, clock: Arrival | None = None) -> None:
        match event:
            case Began():
                self._begins = (self._place + event.at - 1) & MASK
                self._make_way(at_ns)
                draft = self._answering(at_ns)
                draft.last_ns = max(draft.last_ns, at_ns)
                draft.first_byte_ns = at_ns if draft.first_byte_ns is None else draft.first_byte_ns
                if self._answer_missing:
                    size, self._answer_missing = self._answer_missing, 0
                    draft.take_gap(size)
            case Head():
                self.is_recognised = True
                if event.start[1].startswith("1") and event.start[1] != "101":
                    return
                self._part_answers(at_ns)
                draft = self._answering(at_ns)
                draft.take_response_head(event, at_ns)
                self._progress(draft, at_ns, True)
                if draft.status == 101 or (draft.method == "CONNECT" and event.start[1].startswith("2")):
                    self._switch(draft, at_ns)
            case Body():
                draft = self._answering(at_ns)
                if clock is None or clock.is_one or draft.stream_format is None:
                    draft.take_response_body(event.data, clock.latest(event.at) if clock else at_ns)
                else:
                    draft.take_response_parts(event.data, *clock.parts(event))
                self._progress(draft, draft.last_ns, False)
            case Gap():
                self._take_response_gap(event.size)
            case Resumed():
                self._part_answers(at_ns)
                draft = self._answering(at_ns)
                draft.answered = True
                self.is_recognised = True
                draft.resume()
                if draft.status is None and not draft.response.missing:
                    draft.began_before = True
                    draft.note("The capture began in the middle of the reply.")
            case End():
                self._close_response(at_ns, event.clean)

    def _part_answers(self, at_ns: int) -> None:
        """Bytes that are missing before an answer may be the answer to the oldest request, if another one is hidden.

        Hidden is a request in a gap, and what a request whose end is unknown may have swallowed.
        """
        draft = self._waiting[0] if self._waiting else None
        if draft is None or draft.answered:
            return
        known = draft.acked if draft.acked >= 0 else draft.heard
        unseen = distance(self._begins, known) if known >= 0 else 0
        if max(unseen, draft.response.missing) <= CONTINUE_BYTES:
            return
        is_second_hidden = len(self._waiting) > 1 and self._waiting[1].acked == UNKNOWN_PLACE
        if not is_second_hidden and (draft.is_framed or not draft.request.missing):
            return
        first_byte_ns, draft.first_byte_ns = draft.first_byte_ns, None
        self._waiting.popleft()
        if draft is self._sending:
            self._sending = None
        draft.is_lossy = True
        self._finish(draft, at_ns)
        if not is_second_hidden:
            self._answer_unseen(at_ns)
        self._waiting[0].first_byte_ns = first_byte_ns

    def _take_response_gap(self, size: int) -> None:
        if self._waiting and self._waiting[0].first_byte_ns is not None:
            self._waiting[0].take_gap(size)
        else:
            self._answer_missing += size

    def _close_response(self, at_ns: int, clean: bool) -> None:
        if not self._waiting:
            return
        draft = self._waiting[0]
        draft.response_done = clean
        draft.is_lossy |= not clean
        self._answered += 1
        if draft is self._sending and clean and not self._client_left_ns and draft.method is not None:
            # The server answered early; the rest of the request may still come and is part of it.
            self._waiting.popleft()
            draft.ended_ns = at_ns
            return
        if draft is self._sending:
            self._sending = None
        self._retire(draft, at_ns)

    def _retire(self, draft: Draft, at_ns: int) -> None:
        if self._waiting and self._waiting[0] is draft:
            self._waiting.popleft()
        self._finish(draft, at_ns if draft.ended_ns is None else draft.ended_ns)

    def _finish(self, draft: Draft, at_ns: int) -> None:
        # Without its end, or somebody's leaving, the end of an exchange is unknown.
        draft.ended_ns = at_ns if draft.response_done or draft.left_by is not None else None
        draft.finish_response()
        self._end_draft(draft, at_ns)

    # Ends.

    def client_left(self, at_ns: int) -> None:
        """The client closed its side. It may go on reading."""
        self._client_left_ns = at_ns
        for draft in self._waiting:
            if not draft.reply.done:
                draft.note("The client closed its side before the answer was complete.")

    def client_gone(self) -> None:
        """The client does not read any more: what it was reading is over."""
        while self._waiting and self._waiting[0].answered:
            self._abandon(self._waiting.popleft(), "client", self._client_left_ns)

    def server_left(self, at_ns: int) -> None:
        """The server closed or reset."""
        self._server_left_ns = at_ns
        for event in self._responses.eof():
            self._take_response(event, at_ns)
        self._charge_missing()
        side = "client" if self._client_left_ns else "server"
        while self._waiting:
            self._abandon(self._waiting.popleft(), side, self._client_left_ns or at_ns)

    def _charge_missing(self) -> None:
        """Nothing but a gap came of the answer that is due."""
        if self._waiting:
            self._waiting[0].response.missing += self._answer_missing
            self._answer_missing = 0

    def _abandon(self, draft: Draft, side: str, at_ns: int) -> None:
        draft.left_by = "client" if side == "client" else "server"
        if draft is self._sending:
            self._sending = None
        self._finish(draft, max(at_ns, draft.last_ns) if side == "server" else at_ns)

    def finish(self, now_ns: int) -> None:
        """The flow is over, or the capture."""
        self._charge_missing()
        if self._client_left_ns:
            while self._waiting:
                self._abandon(self._waiting.popleft(), "client", self._client_left_ns)
        early = self._sending
        if early is not None and early.response_done:
            self._sending = None
            self._finish(early, now_ns)
        while self._waiting:
            self._finish(self._waiting.popleft(), now_ns)

    def _is_bodiless(self) -> bool | None:
        method = self._waiting[0].method if self._waiting else None
        return None if method is None else method in ("HEAD", "CONNECT")

    def _switch(self, draft: Draft, at_ns: int) -> None:
        """After 101, and after a CONNECT that was granted, nobody speaks HTTP any more."""
        self._requests.ignore_rest()
        self._responses.ignore_rest()
        if draft.status == 101:
            self._close_response(at_ns, clean=True)
