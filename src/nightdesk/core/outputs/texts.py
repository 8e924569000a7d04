"""The text of an output, whatever kind of file it is, and what is found in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from nightdesk.model.base import Json

JSON_NAMES = (".json",)
LINES_NAMES = (".jsonl", ".ndjson")
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_FENCE = re.compile(r"^ {0,3}(?P<mark>`{3,}|~{3,})[ \t]*(?P<name>[^\s`{]*)[^`]*$")
_HEADING = re.compile(r"^ {0,3}(?P<level>#{1,6})[ \t]+(?P<words>.*?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r"^ {0,3}(?P<mark>=+|-{3,})[ \t]*$")
_DRESS = re.compile(r"[*_`~]+|^\W*\d+(?:\.\d+)*[.):]?\s+|[\s:.]+$")


class UnreadableError(Exception):
    """The bytes are not what the rule needs; says what they are instead."""


class Output(NamedTuple):
    """One output as it lies on the disk."""

    name: str
    body: bytes


class Heading(NamedTuple):
    """A heading of Markdown."""

    level: int
    words: str


class Block(NamedTuple):
    """A fenced block of code."""

    name: str
    """What stands behind the fence, small: ``python``; empty where nothing does."""
    text: str
    line: int
    """Its first line, from 1."""
    is_closed: bool


def suffix_of(name: str) -> str:
    """``.json`` of ``a/b.JSON``."""
    return "." + name.rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def decoded(body: bytes) -> str:
    """The text of a file: UTF-8, or what its mark says. Raises UnreadableError."""
    coding = next((name for mark, name in _MARKS if body.startswith(mark)), "utf-8")
    try:
        text = body.decode(coding)
    except UnicodeDecodeError as fault:
        raise UnreadableError(f"it is not text: byte {fault.start:,} is not {coding.upper()}") from fault
    if "\0" in text[:4096]:
        raise UnreadableError("it is not text: it holds zero bytes")
    return text


def values_of(output: Output) -> Iterator[tuple[str, Json]]:
    """The JSON values of a file with their place: one, or one for each line. Raises UnreadableError."""
    text = decoded(output.body)
    if suffix_of(output.name) not in LINES_NAMES:
        yield "", _value(text, "")
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}: ", _value(line, f"line {number}: ")


def _value(text: str, place: str) -> Json:
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError) as fault:
        words = "it is nested too deep" if isinstance(fault, RecursionError) else str(fault)
        raise UnreadableError(f"{place}it is not JSON: {words[:1].lower()}{words[1:160]}") from fault


def text_of(output: Output, place: str | None) -> str:
    """The prose of an output: of a JSON file what lies at ``place``, or all its texts. Raises UnreadableError."""
    if suffix_of(output.name) not in (*JSON_NAMES, *LINES_NAMES):
        return decoded(output.body)
    found = [_at(value, place.split(".")) if place else value for _, value in values_of(output)]
    texts = [text for one in found for text in _texts(one)]
    if place and not texts:
        raise UnreadableError(f"it has no text at {place}")
    return "\n".join(texts)


def _at(value: Json, steps: list[str]) -> Json:
    for place, step in enumerate(steps):
        if isinstance(value, list):
            return [_at(one, steps[place:]) for one in value]
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _texts(value: Json) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += reversed(one.values())
        elif isinstance(one, list):
            waiting += reversed(one)


def headings(text: str) -> list[Heading]:
    """The headings of Markdown, in their order; what stands in blocks of code is none."""
    found: list[Heading] = []
    before = ""
    for line in _outside_code(text):
        if match := _HEADING.match(line):
            found.append(Heading(len(match["level"]), match["words"]))
        elif (
            (match := _UNDERLINE.match(line))
            and before.strip()
            and not before.lstrip().startswith(("|", "-", "*"))
        ):
            found.append(Heading(1 if match["mark"][0] == "=" else 2, before.strip()))
        before = line
    return found


def plain_heading(words: str) -> str:
    """What is compared of a heading: no emphasis, no number, no colon, small letters."""
    bare, before = words.strip(), ""
    while bare != before:
        bare, before = _DRESS.sub("", bare).strip(), bare
    return " ".join(bare.casefold().split()) or words.strip().casefold()


def blocks(text: str) -> list[Block]:
    """The fenced blocks of code of a text."""
    found: list[Block] = []
    mark, name, first = "", "", 0
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if not mark:
            if match:
                mark, name, lines, first = match["mark"], match["name"].lower(), [], number + 1
        elif match and not match["name"] and match["mark"].startswith(mark):
            found.append(Block(name, "\n".join(lines) + "\n", first, True))
            mark = ""
        else:
            lines.append(line)
    if mark:
        found.append(Block(name, "\n".join(lines) + "\n", first, False))
    return found


def prose_of(text: str) -> str:
    """The text without its blocks of code."""
    return "\n".join(_outside_code(text))


def _outside_code(text: str) -> Iterator[str]:
    mark = ""
    for line in text.splitlines():
        match = _FENCE.match(line)
        if not mark and match:
            mark = match["mark"]
        elif mark:
            if match and not match["name"] and match["mark"].startswith(mark):
                mark = ""
        else:
            yield line
