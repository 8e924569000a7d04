"""Does code compile? Asks the parsers that Python has; other languages are not judged.

A compiler can be brought down by what it reads: whoever calls this does so in a process that may die.
"""

from __future__ import annotations

import importlib
import json
import tomllib
import warnings
from collections.abc import Callable
from typing import NamedTuple

from nightdesk.core.outputs.texts import Block, Output, blocks, decoded, suffix_of

_KINDS = {
    "python": "python", "py": "python", "python3": "python", "json": "json", "toml": "toml", "yaml": "yaml",
    "yml": "yaml", ".py": "python", ".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip
_PROMPT = ">>> "


class Compiled(NamedTuple):
    """What became of the code of an output."""

    good: int
    bad: int
    unknown: int
    """Blocks in languages that can't be judged here."""
    first: str
    """Where the first bad block is, and why."""


def compiled(output: Output) -> Compiled:
    """Tries each block of code of an output, or all of it where it is a file of code. Raises UnreadableError."""
    text = decoded(output.body)
    own = _KINDS.get(suffix_of(output.name))
    found = [Block(own, text, 1, True)] if own else blocks(text)
    good = bad = unknown = 0
    first = ""
    for block in found:
        judge = _judge_of(_KINDS.get(block.name, ""))
        if judge is None:
            unknown += 1
            continue
        fault = judge(block)
        good, bad = good + (fault is None), bad + (fault is not None)
        if fault is not None and not first:
            first = f"{_KINDS[block.name]} in line {fault}"
    return Compiled(good, bad, unknown, first)


def _python(block: Block) -> str | None:
    if block.text.lstrip().startswith(_PROMPT):
        return None  # a session, with its answers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(block.text, "<output>", "exec", dont_inherit=True)
    except SyntaxError as fault:
        return f"{block.line + (fault.lineno or 1) - 1}: {fault.msg}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as fault:
        return f"{block.line}: {fault or type(fault).__name__}"
    return None


def _json(block: Block) -> str | None:
    try:
        json.loads(block.text)
    except json.JSONDecodeError as fault:
        return f"{block.line + fault.lineno - 1}: {fault.msg}"
    except RecursionError:
        return f"{block.line}: nested too deep"
    return None


def _toml(block: Block) -> str | None:
    try:
        tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as fault:
        return f"{block.line}: {fault}"
    except RecursionError:
        return f"{block.line}: nested too deep"
    return None


def _judge_of(kind: str) -> Callable[[Block], str | None] | None:
    if kind == "yaml":
        return _yaml_judge()
    return _JUDGES.get(kind)


def _yaml_judge() -> Callable[[Block], str | None] | None:
    """By PyYAML where somebody has installed it beside us."""
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        return None

    def judge(block: Block) -> str | None:
        try:
            for _ in yaml.parse(block.text):
                pass
        except yaml.YAMLError as fault:
            return f"{block.line}: {' '.join(str(fault).split())}"[:200]
        except RecursionError:
            return f"{block.line}: nested too deep"
        return None

    return judge


_JUDGES: dict[str, Callable[[Block], str | None]] = {"python": _python, "json": _json, "toml": _toml}
