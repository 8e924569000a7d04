"""One search through one growing file: a thread finds, questions are answered from what is found so far."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from nightdesk.engine.logs.scan import LONGEST, Batch, scan, scan_pattern
from nightdesk.engine.logs.words import Matcher
from nightdesk.model.logs import LogSearch

HITS_MOST = 2_000_000
"""Lines whose place is kept, 8 bytes each; further ones are counted."""
WAIT_SECONDS = 0.25
"""How long a question waits for its answer; then it is told how far the search is."""
IDLE_SECONDS = 20.0
"""A search that nobody asks for any more stops."""
Opened = Callable[[], int]


class Search:
    """Finds lines of one file in a thread of its own. :meth:`ask` may be called from any thread."""

    def __init__(self, text: str, regex: bool, matcher: Matcher) -> None:
        self.text = text
        self.regex = regex
        self._matcher = matcher
        self._hits = array("Q")
        self._count = 0
        self._scanned = 0
        self._rest: tuple[int, int | None] = (0, None)
        self._changed = threading.Condition()
        self._running = False
        self._cancelled = False
        self._process: subprocess.Popen[bytes] | None = None
        """Where a pattern is looked for."""
        self._asked = time.monotonic()
        self._fault: str | None = None

    def cancel(self) -> None:
        """Stop finding, also a pattern that never comes to an end."""
        self._cancelled = True
        if self._process is not None:
            self._process.kill()

    def ask(self, descriptor: int, size: int, at: int) -> LogSearch:
        """What is known of the file up to ``size``, and the hits around the line that starts at ``at``.

        Waits a quarter of a second for the next hit at most.
        """
        self._asked = time.monotonic()
        with self._changed:
            if not self._running and self._fault is None and not self._is_done(size):
                self._running = True
                work = (os.dup(descriptor), size)
                threading.Thread(target=self._find, args=work, name="log-search", daemon=True).start()
            self._changed.wait_for(lambda: self._is_done(size) or self._after(at) is not None, WAIT_SECONDS)
            return self._answer(size, at)

    def _is_done(self, size: int) -> bool:
        return self._fault is not None or self._rest[0] >= size

    def _answer(self, size: int, at: int) -> LogSearch:
        extra = self._rest[1] is not None
        return LogSearch(
            text=self.text,
            regex=self.regex,
            count=self._count + extra,
            scanned_bytes=max(self._scanned, self._rest[0] if self._is_done(size) else 0),
            size_bytes=size,
            complete=self._is_done(size),
            place=self._place(at),
            before=self._before(at),
            after=self._after(at),
            fault=self._fault,
        )

    def _place(self, at: int) -> int | None:
        found = bisect_left(self._hits, at)
        if found < len(self._hits) and self._hits[found] == at:
            return found + 1
        return self._count + 1 if self._rest[1] == at else None

    def _after(self, at: int) -> int | None:
        found = bisect_right(self._hits, at) if at >= 0 else 0
        if found < len(self._hits):
            return self._hits[found]
        rest = self._rest[1]
        return rest if rest is not None and rest > at else None

    def _before(self, at: int) -> int | None:
        rest = self._rest[1]
        if rest is not None and rest < at:
            return rest
        found = bisect_left(self._hits, at)
        return self._hits[found - 1] if found else None

    def _find(self, descriptor: int, size: int) -> None:
        try:
            for scanned, found in self._batches(descriptor, size):
                with self._changed:
                    self._take(scanned, found)
                if self._cancelled or time.monotonic() - self._asked > IDLE_SECONDS:
                    return
            self._look_at_rest(descriptor, size)
        except OSError as fault:
            self._fault = fault.strerror or str(fault)
        finally:
            os.close(descriptor)
            with self._changed:
                self._running = False
                self._changed.notify_all()

    def _batches(self, descriptor: int, size: int) -> Iterator[Batch]:
        if self.regex:
            return scan_pattern(descriptor, self._scanned, size, self.text, self._began)
        return scan(descriptor, self._scanned, size, self._matcher)

    def _began(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self._cancelled:
            process.kill()

    def _take(self, scanned: int, found: list[int]) -> None:
        self._scanned = scanned
        self._count += len(found)
        self._hits.extend(found[: max(HITS_MOST - len(self._hits), 0)])
        if found:
            self._rest = (0, None)
            self._changed.notify_all()

    def _look_at_rest(self, descriptor: int, size: int) -> None:
        """A last line without an end counts while it stands there."""
        rest = os.pread(descriptor, min(size - self._scanned, LONGEST), self._scanned)
        hit = bool(rest) and not self.regex and next(self._matcher(rest, len(rest)), None) is not None
        with self._changed:
            self._rest = (size, self._scanned if hit else None)
