"""Alarms on a reply that is still running. Fed with pieces as they come; looked at about once a second."""

from __future__ import annotations

from nightdesk.core.verdicts.facts import INFERENCE, has_content, prompt_texts, verdict
from nightdesk.core.verdicts.known import Known
from nightdesk.core.verdicts.loops import TAIL, Loop, find_loop, white_tail
from nightdesk.core.verdicts.thresholds import Thresholds
from nightdesk.core.verdicts.timing import patience_ns, stall_verdict
from nightdesk.model.exchange import Exchange, Verdict
from nightdesk.model.units import format_duration

CHECK_EVERY = 2_048
"""Characters after which the text is looked at although nobody asked."""
PROMPT_LOOKED_AT = 100_000


class Watcher:
    """One running exchange. Memory and cost of a piece do not grow with the reply."""

    def __init__(self, exchange: Exchange, limits: Thresholds, known: Known, *, quote: bool = True) -> None:
        self._limits = limits
        self._quote = quote
        self._first_ns = exchange.first_token_ns
        self._last_ns = exchange.first_token_ns or exchange.started_ns
        self._has_reply = False
        self._tail = ""
        self._pieces: list[str] = []
        self._fresh = 0
        self._loop: Loop | None = None
        self._white = 0
        self._stalls: list[int] = []
        self._usual_first_ns = known.usual_first_ns(exchange.model)
        self._read(exchange)
        self.feed(self._last_ns, exchange.text, exchange.thinking, exchange.first_token_ns)

    def replace(self, exchange: Exchange) -> None:
        """The exchange is known better now: its response head came. Text is not read again."""
        self._read(exchange)

    def _read(self, exchange: Exchange) -> None:
        asked = exchange.prompt.options.get("stream") if exchange.prompt else None
        comes_in_pieces = exchange.streamed or (
            asked is True or (asked is None and exchange.dialect == "ollama" and exchange.prompt is not None)
        )
        self._is_watched = exchange.operation in INFERENCE and exchange.state == "running" and comes_in_pieces
        self._started_ns = exchange.started_ns
        self._patience_ns = patience_ns(exchange, self._limits)
        has_prompt = has_content(exchange) and exchange.prompt is not None
        texts = prompt_texts(exchange.prompt) if exchange.prompt else []
        self._is_empty_prompt = has_prompt and not texts
        self._prompt = "\n".join(texts)[-PROMPT_LOOKED_AT:]

    def feed(self, at_ns: int, text: str, thinking: str = "", first_token_ns: int | None = None) -> None:
        """Take in new text (or thinking) that came at ``at_ns``; both empty for fragments without text."""
        if self._first_ns is None:
            self._first_ns = first_token_ns
        elif at_ns - self._last_ns >= self._patience_ns:
            self._stalls.append(at_ns - self._last_ns)
        self._last_ns = max(at_ns, self._last_ns)
        if text and not self._has_reply and text.strip():
            self._has_reply = True
            self._forget_text()
        piece = text if self._has_reply or text else thinking
        if piece:
            self._pieces.append(piece)
            self._fresh += len(piece)
            if self._fresh >= CHECK_EVERY:
                self._check()

    def look(self, now_ns: int) -> tuple[Verdict, ...]:
        """The alarms as of ``now_ns``."""
        if not self._is_watched or self._is_empty_prompt:
            return ()
        if self._pieces:
            self._check()
        found = [*self._of_text(), *self._of_time(now_ns)]
        return tuple(one for one in found if one.kind not in self._limits.off)

    def _forget_text(self) -> None:
        """The thinking is over: what it repeated is no matter any more."""
        self._tail, self._pieces, self._fresh = "", [], 0
        self._loop, self._white = None, 0

    def _check(self) -> None:
        self._tail = (self._tail + "".join(self._pieces))[-TAIL:]
        self._pieces, self._fresh = [], 0
        white = white_tail(self._tail)
        # Longer than what is kept: the run goes on.
        self._white = white if white < len(self._tail) else max(white, self._white)
        is_white = white >= self._limits.whitespace_run
        self._loop = (
            None if is_white else find_loop(self._tail, "running", self._limits.loop_repeats, self._prompt)
        )

    def _of_text(self) -> list[Verdict]:
        where = "The reply" if self._has_reply else "The thinking"
        if self._white >= self._limits.whitespace_run:
            return [
                verdict(
                    "whitespace_loop",
                    f"{where} has been only white space for {self._white:,} characters or more, and goes on.",
                    "Cancel it: it seldom ends by itself. Limit num_predict, and ask for JSON in the prompt, too.",
                )
            ]
        if self._loop is None:
            return []
        return [
            verdict(
                "loop",
                self._loop.evidence(where, self._quote) + " It goes on.",
                "Cancel it: it seldom ends by itself. Raise repeat_penalty or temperature, and limit num_predict.",
            )
        ]

    def _of_time(self, now_ns: int) -> list[Verdict]:
        found = []
        if self._first_ns is None:
            waited = now_ns - self._started_ns
            if waited >= self._limits.slow_first_token_ns:
                found.append(self._waiting(waited))
            return found
        silent = now_ns - self._last_ns
        stalls = [*self._stalls, *([silent] if silent >= self._patience_ns else [])]
        if stalls:
            found.append(stall_verdict(max(stalls), len(stalls), sum(stalls)))
        if not self._has_reply and self._is_thinking_for(now_ns):
            found.append(
                verdict(
                    "only_thinking",
                    f"Thinking for {format_duration(now_ns - self._first_ns)} without a word of the reply.",
                    "Cancel it and ask with think: false, or limit num_predict.",
                )
            )
        return found

    def _is_thinking_for(self, now_ns: int) -> bool:
        assert self._first_ns is not None
        thought = bool(self._tail or self._pieces)
        return thought and now_ns - self._first_ns >= self._limits.only_thinking_ns

    def _waiting(self, waited_ns: int) -> Verdict:
        usual = self._usual_first_ns
        tail = f"; usual for this model {format_duration(usual)}" if usual is not None else ""
        return verdict(
            "slow_first_token",
            f"No token yet after {format_duration(waited_ns)}{tail}. The cause is known when the reply has ended.",
            "Check whether the model is being loaded, other requests are queued first, or the prompt is long.",
        )
