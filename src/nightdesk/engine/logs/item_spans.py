"""When items of a run were in work, for the lines of its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nightdesk.engine.logs.choice import Spans
from nightdesk.model.job import Run
from nightdesk.model.logs import LogFile

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

ALWAYS = (0, 2**63 - 1)


def item_spans(service: Service, file: LogFile, items: tuple[str, ...]) -> Spans | None:
    """When items whose names hold one of these words wrote to a log; None where the desk knows no items of it.

    A log that belongs to one item is always its own. Blocks.
    """
    run = next((each for each in service.supervisor.runs() if each.id == file.run), None)
    if run is None:
        return None
    known = list(_known(service, run))
    if not known:
        return None
    spans = []
    for item, path, since, until in known:
        if any(word in item.casefold() for word in items):
            own = path is not None and path != run.log_path
            if own and Path(path or "") == Path(file.path):
                spans.append(ALWAYS)
            elif not own:
                spans.append((since, until))
    return spans


def _known(service: Service, run: Run) -> Iterator[tuple[str, str | None, int, int]]:
    """(item, its own log, from, until) of what was and is in work."""
    for record in service.supervisor.item_records(run.id):
        if record.started_ns is not None:
            yield record.item, record.log_path, record.started_ns, record.ended_ns
    for flight in run.flights:
        if flight.item is not None and flight.started_ns is not None:
            yield flight.item, flight.log_path, flight.started_ns, time.time_ns() + 10**9
