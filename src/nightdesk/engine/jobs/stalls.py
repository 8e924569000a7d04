"""Looks whether attempts show any sign of life: output, CPU time, exchanges with a model server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from nightdesk.core.jobs.events import Stalled
from nightdesk.core.jobs.work import Attempt
from nightdesk.engine.jobs.driver import RunDriver
from nightdesk.engine.processes.signals import processes_of_attempt
from nightdesk.engine.processes.table import read_entry
from nightdesk.model.units import format_duration

LOOKS = 4
"""Looks in the time that a job may be without a sign of life."""
LONGEST_S, SHORTEST_S = 5.0, 0.05
BUSY = 0.005
"""Share of a core below which a tree of processes only waits: a sleeping loop or a heartbeat is no work."""


@dataclass(frozen=True, slots=True)
class _Life:
    """The newest signs of life of one attempt."""

    at_ns: int
    """When one was seen last."""
    looked_ns: int
    log_bytes: int
    cpu_ns: int
    traffic: int


class StallWatch:
    """Remembers the signs of life of all attempts of jobs with ``stall_after``."""

    def __init__(self, traffic: Callable[[str], int]) -> None:
        """``traffic`` gives a number that changes when something of an exchange of this run was captured."""
        self._traffic = traffic
        self._seen: dict[tuple[str, int], _Life] = {}

    def pause_s(self, drivers: Iterable[RunDriver]) -> float:
        """Seconds until the next look."""
        limits = [driver.work.plan.stall_ns for driver in drivers if driver.work.plan.stall_ns]
        return max(SHORTEST_S, min(LONGEST_S, min(limits, default=10**12) / LOOKS / 1e9))

    def jumped(self, by_ns: int) -> None:
        """The clock went on by so much more than time went by: nothing could show a sign of life meanwhile."""
        self._seen = {
            key: replace(life, at_ns=life.at_ns + by_ns, looked_ns=life.looked_ns + by_ns)
            for key, life in self._seen.items()
        }

    def look(self, drivers: Iterable[RunDriver], now_ns: int) -> list[tuple[RunDriver, Stalled]]:
        """The attempts that stalled. Blocks while it reads process tables."""
        found: list[tuple[RunDriver, Stalled]] = []
        seen: dict[tuple[str, int], _Life] = {}
        for driver in drivers:
            limit = driver.work.plan.stall_ns
            if limit is None:
                continue
            for attempt in driver.work.ledger.attempts:
                key = (driver.work.run.id, attempt.serial)
                life = self._life(driver, attempt, self._seen.get(key), now_ns)
                seen[key] = life
                if now_ns - life.at_ns >= limit:
                    words = f"No output, no CPU time and no exchange for {format_duration(limit)}."
                    found.append((driver, Stalled(attempt.serial, words, now_ns)))
        self._seen = seen
        return found

    def _life(self, driver: RunDriver, attempt: Attempt, before: _Life | None, now_ns: int) -> _Life:
        run = driver.work.run
        log = driver.log_of(attempt)
        size = log.stat().st_size if log.exists() else 0
        traffic = self._traffic(run.id)
        if before is None:
            return _Life(now_ns, now_ns, size, 0, traffic)
        stands = run.state != "running" or driver.work.ledger.pausing
        if stands or size != before.log_bytes or traffic != before.traffic:
            return _Life(now_ns, now_ns, size, before.cpu_ns, traffic)
        # Only now, as reading the environments of all processes is dear.
        cpu = self._cpu_ns(run.id, attempt)
        worked = before.cpu_ns > 0 and cpu - before.cpu_ns > BUSY * (now_ns - before.looked_ns)
        return _Life(now_ns if worked else before.at_ns, now_ns, size, max(cpu, 1), traffic)

    def _cpu_ns(self, run_id: str, attempt: Attempt) -> int:
        members = processes_of_attempt(run_id, attempt.serial, attempt.process)
        entries = (read_entry(member.key.pid) for member in members)
        return sum(entry.cpu_ns for entry in entries if entry)
