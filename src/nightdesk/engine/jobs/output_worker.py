"""Looks at outputs: a child of the engine, because patterns and compilers can hang a process or bring it down.

A request is a line of JSON on standard input, its answer a line on standard output. It ends when its input does, and
after a while without work. What it looks at can make it neither read nor write anything but the files it was told of.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import sys
from pathlib import Path

import msgspec

from nightdesk.core.outputs.judging import Beside, judged
from nightdesk.core.outputs.texts import Output, UnreadableError, values_of
from nightdesk.model.base import Noun
from nightdesk.model.config import OutputRules
from nightdesk.model.outputs import RuleResult

READ_MOST = 16 * 2**20
"""Bytes of an output that are looked at."""
MEMORY_MOST = 4 * 2**30
IDLE_SECONDS = 60.0


class Request(Noun, frozen=True, kw_only=True):
    """One output to look at; paths are absolute."""

    output: str
    shown: str
    """Its name, for sentences."""
    rules: OutputRules
    folder: str
    golden: str | None = None
    """Relative to the folder, its places filled."""


class Answer(Noun, frozen=True, kw_only=True):
    """What the rules say, and the file as it was then."""

    results: tuple[RuleResult, ...]
    size: int | None = None
    changed_ns: int | None = None


_decoder = msgspec.json.Decoder(Request)


def look(request: Request) -> Answer:
    """Apply the rules to one output."""
    path = Path(request.output)
    try:
        stat = path.stat()
        if not path.is_file():
            return _absent(f"{request.shown} is no file")
        with path.open("rb") as file:
            body = file.read(READ_MOST)
    except OSError as fault:
        missing = isinstance(fault, FileNotFoundError)
        return _absent(f"{request.shown} {'is missing' if missing else f'can not be read: {fault.strerror}'}")
    if not body:
        return _absent(f"{request.shown} is empty", size=0, changed_ns=stat.st_mtime_ns)
    output = Output(request.shown, body)
    results = judged(request.rules, output, stat.st_size, _beside(request))
    return Answer(results=results, size=stat.st_size, changed_ns=stat.st_mtime_ns)


def _absent(words: str, **known: int) -> Answer:
    result = RuleResult(rule="exists", state="failed", evidence=words, score=0.0)
    return Answer(results=(result,), **known)


def _beside(request: Request) -> Beside:
    """The files that the rules name, as they are now."""
    folder, faults = Path(request.folder), {}
    schema, golden = None, None
    if request.rules.schema is not None:
        try:
            body = (folder / request.rules.schema).expanduser().read_bytes()
            schema = next(values_of(Output(request.rules.schema, body)))[1]
        except (OSError, UnreadableError) as fault:
            faults["schema"] = f"the schema {request.rules.schema} can't be read: {_words(fault)}"
    if request.golden is not None:
        try:
            with (folder / request.golden).expanduser().open("rb") as file:
                golden = Output(request.golden, file.read(READ_MOST))
        except OSError as fault:
            faults["golden"] = f"{request.golden} can't be read: {_words(fault)}"
    return Beside(schema, golden, faults)


def _words(fault: Exception) -> str:
    return str(fault.strerror if isinstance(fault, OSError) else fault)


def main() -> int:
    """Answer until the input ends, or nothing is asked for a while."""
    with contextlib.suppress(ValueError, OSError):  # some systems refuse
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MOST, MEMORY_MOST))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints does not get between the answers
    source = sys.stdin.buffer
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        line = source.readline()
        if not line:
            break
        answers.write(msgspec.json.encode(look(_decoder.decode(line))) + b"\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
