"""The findings about an exchange, each with what it rests on and what to do."""

from __future__ import annotations

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange, Verdict
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.inspector.prose import EMPTY, Lines, Setting, sentence, text_lines
from nightdesk.tui.widgets.folds import Line

LONGEST = 20_000


def verdict_lines(verdict: Verdict, glyphs: Glyphs) -> Lines:
    """What, why we believe it, what to do about it."""
    yield Line(((f"{glyphs.verdict} {safe_line(verdict.kind.replace('_', ' '), 200)}", "warn"),))
    yield from text_lines(verdict.evidence, limit=LONGEST)
    yield from text_lines(f"{glyphs.arrow} {verdict.advice}", "muted", limit=LONGEST)


def verdicts(exchange: Exchange, setting: Setting) -> Lines:
    """All findings, or the sentence that there is none."""
    if not exchange.verdicts:
        still = " so far; it is still running" if exchange.state == "running" else ""
        yield sentence(f"{setting.glyphs.done} Nothing was found wrong with this exchange{still}.", "ok")
        yield EMPTY
        yield sentence(
            "Looked for: context cut, empty or cut reply, loops, only thinking, stalls, a slow first token, errors in "
            "a stream, a client that left, invalid JSON."
        )
        return
    for verdict in exchange.verdicts:
        yield from verdict_lines(verdict, setting.glyphs)
        yield EMPTY
    yield sentence("Thresholds stand under [verdicts] in nightdesk.toml.")
