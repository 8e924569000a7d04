"""Long texts of prompts with what was pasted into them folded: fenced blocks, files in tags, long rests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from nightdesk.core.foreign import safe_line
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.inspector.prose import LIMIT, Lines, cut_line, fold, text_lines
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.folds import Line
from nightdesk.tui.widgets.lines import Pieces

FOLDED_LINES, FOLDED_CHARS = 8, 800
"""What is shorter is shown: a fold would hide more than it helps."""
SHOWN_LINES, SHOWN_CHARS = 60, 12_000
"""Of a longer run of text so much is shown, the rest is folded."""
BLOCKS = 2000
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})\s*([^`]*)$")
_TAG = re.compile(
    r"\s*<(file|files|document|documents|context|source|attachment|transcript|code|example|data)\b([^<>]{0,400})>",
    re.IGNORECASE,
)
_NAME = re.compile(r"""(?:path|name|src|source|title|filename|id)\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)


class Block(NamedTuple):
    """Lines of a text that belong together; ``label`` is empty for running text."""

    label: str
    lines: list[str]


def blocks(text: str) -> Iterator[Block]:
    """The text in order: running text, and blocks with what they are. Joined by line ends they are the text again."""
    run: list[str] = []
    lines = text.split("\n")
    at = made = 0
    while at < len(lines):
        label, end = _block_at(lines, at) if made < BLOCKS else ("", at)
        if end == at:
            run.append(lines[at])
            at += 1
            continue
        if run:
            yield Block("", run)
            run = []
        yield Block(label, lines[at:end])
        at, made = end, made + 1
    if run:
        yield Block("", run)


def _block_at(lines: list[str], at: int) -> tuple[str, int]:
    """(what begins at line ``at``, the line behind its end); the same line where nothing begins or it never ends."""
    line = lines[at]
    if line.lstrip()[:1] not in ("`", "~", "<"):
        return "", at
    if fence := _FENCE.match(line):
        for end in range(at + 1, len(lines)):
            stripped = lines[end].strip()
            if stripped.startswith(fence[1]) and not stripped.strip(fence[1][0]):
                return fence[2].strip() or "code", end + 1
        return fence[2].strip() or "code", len(lines)
    if tag := _TAG.match(line):
        name = _NAME.search(tag[2])
        label = f"{tag[1].lower()} {name[1]}" if name else tag[1].lower()
        closing = f"</{tag[1].lower()}>"
        for end in range(at, len(lines)):
            if closing in lines[end].lower():
                return label, end + 1
    return "", at


def prompt_lines(text: str, key: str, glyphs: Glyphs, tone: Tone = "", depth: int = 0) -> Lines:
    """The lines of a prompt of any size, folded."""
    shown = text if len(text) <= LIMIT else text[: LIMIT * 3 // 4]
    for number, block in enumerate(blocks(shown)):
        yield from _block_lines(block, f"{key}.{number}", glyphs, tone, depth)
    if len(text) > LIMIT:
        yield cut_line(len(text) - LIMIT, depth)
        yield from text_lines(text[-(LIMIT // 4) :], tone, depth)


def _block_lines(block: Block, key: str, glyphs: Glyphs, tone: Tone, depth: int) -> Lines:
    text = "\n".join(block.lines)
    is_long = len(block.lines) >= FOLDED_LINES or len(text) >= FOLDED_CHARS
    if block.label and is_long:
        size = f"{len(block.lines):,} lines, {len(text):,} characters"
        words: Pieces = (
            (f"{glyphs.line} ", "border"),
            (safe_line(block.label, 200), "accent"),
            (f"  {size}", "faint"),
        )
        yield Line(words, depth, key, "folded", True)
        yield from text_lines(text, "muted", depth + 1)
    elif block.label or (len(block.lines) <= SHOWN_LINES * 3 // 2 and len(text) <= SHOWN_CHARS * 3 // 2):
        yield from text_lines(text, "muted" if block.label else tone, depth)
    else:
        yield from _long_run(text, key, glyphs, tone, depth)


def _long_run(text: str, key: str, glyphs: Glyphs, tone: Tone, depth: int) -> Lines:
    head = "\n".join(text[:SHOWN_CHARS].split("\n")[:SHOWN_LINES])
    rest = text[len(head) :].removeprefix("\n")
    yield from text_lines(head, tone, depth)
    size = f"{rest.count(chr(10)) + 1:,} more lines, {len(rest):,} characters"
    yield fold(key, size, glyphs, shut=True, depth=depth)
    yield from text_lines(rest, tone, depth + 1)
