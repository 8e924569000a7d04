"""Memory for runs: what is free, what runs have asked for and not yet taken, and whether one more fits.

Memory that a run asks for is reserved for it until it uses it: two runs that look at the same moment would both find it
free, and models take their time to load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nightdesk.core.jobs.work import Work
from nightdesk.model.units import format_bytes

SETTLED_NS = 180 * 10**9
"""After this time an attempt has what it needs, however little that is."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory at one moment, in bytes."""

    free: int
    total: int
    used: Mapping[str, int] = field(default_factory=dict)
    """Run → what its processes hold."""
    models: int = 0
    """What the model servers hold of it and can free."""


def reserved(works: Iterable[Work], memory: Memory, at_ns: int) -> dict[str, int]:
    """Run → memory that it has asked for and not yet taken, of the runs that were let in."""
    held = {work.run.id: _reserved(work, memory.used.get(work.run.id, 0), at_ns) for work in works}
    return {run: size for run, size in held.items() if size > 0}


def _reserved(work: Work, used: int, at_ns: int) -> int:
    wanted = work.plan.memory_bytes
    if wanted is None or not (work.in_flight or work.ledger.admitted):
        return 0
    newest_ns = max((each.launched_ns for each in work.ledger.attempts), default=at_ns)
    return wanted - used if at_ns - newest_ns < SETTLED_NS else 0


def fits(work: Work, memory: Memory, held: Mapping[str, int]) -> bool:
    """Whether a run may have the memory that it asks for."""
    wanted = work.plan.memory_bytes or 0
    return wanted + sum(held.values()) <= memory.free + _freeable(work, memory)


def can_ever_fit(work: Work, memory: Memory) -> bool:
    """False where the machine has less than the run asks for."""
    return (work.plan.memory_bytes or 0) <= memory.total


def shortage(work: Work, memory: Memory, held: Mapping[str, int], jobs: Mapping[str, str]) -> str:
    """Why it does not fit, in one sentence. ``jobs`` gives the job of each run."""
    wanted = format_bytes(work.plan.memory_bytes)
    if not can_ever_fit(work, memory):
        return f"Needs {wanted} of memory; this machine has {format_bytes(memory.total)}."
    said = f"Waits for {wanted} of memory: {format_bytes(memory.free)} are free"
    if freeable := _freeable(work, memory):
        said += f", models hold {format_bytes(freeable)}"
    for run, size in sorted(held.items(), key=lambda pair: -pair[1])[:2]:
        said += f", {jobs.get(run, run)} reserves {format_bytes(size)}"
    return said + "."


def _freeable(work: Work, memory: Memory) -> int:
    return memory.models if work.plan.unload_ns is not None else 0
