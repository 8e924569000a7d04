"""The columns of the processes pane: which there are, which are shown by themselves, and which the user chose.

Without a choice the width of the pane decides. The command always stands last, with the shape of the tree before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from nightdesk.model.process import ProcessRow
from nightdesk.tui.widgets.grid import Column

COMMAND = Column("command", "command", flex=1)
USUAL = (
    Column("pid", "pid", width=8, align="right"),
    Column("cpu", "cpu", width=5, align="right"),
    Column("mem", "memory", width=8, align="right"),
    Column("gpu", "gpu mem", width=8, align="right", least=84),
    Column("state", "s", width=1, least=70),
    Column("age", "age", width=6, align="right", least=90),
    Column("ports", "ports", width=6, align="right", least=76),
    Column("owner", "for", width=12, least=64),
    COMMAND,
)
"""What is shown where the user has not chosen; ``gpu`` and ``ports`` only where some process has any."""
NEEDED = {
    "gpu": lambda row: row.device_bytes is not None,
    "ports": lambda row: bool(row.ports) and row.owner != "other",
}

CHOICES: dict[str, tuple[str, Column]] = {
    "pid": ("process ID", Column("pid", "pid", width=8, align="right")),
    "ppid": ("process ID of its parent", Column("ppid", "parent", width=7, align="right")),
    "user": ("whose it is", Column("user", "user", width=9)),
    "cpu": (
        "share of a core, with all its threads",
        Column("cpu", "cpu", width=5, align="right"),
    ),
    "mem": ("memory that it holds", Column("mem", "memory", width=8, align="right")),
    "gpu": ("memory that it holds on accelerators", Column("gpu", "gpu mem", width=8, align="right")),
    "threads": ("how many threads it has", Column("threads", "thr", width=4, align="right")),
    "state": ("R runs, S sleeps, D disk, T stopped, Z ended", Column("state", "s", width=1)),
    "age": ("time since it started", Column("age", "age", width=6, align="right")),
    "ports": ("TCP ports that it listens on", Column("ports", "ports", width=11, align="right")),
    "owner": (
        "whose: job, orphan, service, Nightdesk, desk, user",
        Column("owner", "for", width=12),
    ),
    "run": ("the run that it belongs to", Column("run", "run", width=28)),
}
"""Key → what it shows, and the column; in the order in which they stand."""

ORDERS: dict[str, Callable[[ProcessRow], Any]] = {
    "cpu": lambda row: -(row.cpu_ratio or 0),
    "mem": lambda row: -(row.rss_bytes or 0),
    "gpu": lambda row: -(row.device_bytes or 0),
    "age": lambda row: row.key.started_ns,
    "pid": lambda row: row.key.pid,
    "threads": lambda row: -(row.threads or 0),
    "user": lambda row: row.user,
    "command": lambda row: row.name.casefold(),
}
"""Order → key among siblings, in the order in which the key of the pane goes through them."""
RISING = frozenset({"pid", "user", "command"})
"""Of these the smallest comes first; of age the oldest."""


def columns_for(chosen: Sequence[str] | None, rows: Collection[ProcessRow]) -> tuple[Column, ...]:
    """The columns to show for ``rows``."""
    if chosen is not None:
        return (*(CHOICES[key][1] for key in chosen if key in CHOICES), COMMAND)
    absent = {key for key, has in NEEDED.items() if not any(map(has, rows))}
    return tuple(column for column in USUAL if column.key not in absent)
