"""The machine's memory as admission sees it: what is free, what runs hold, what models hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from nightdesk.core.jobs.admission import Memory
from nightdesk.engine.jobs.handover import DeviceMemory
from nightdesk.engine.sensors.host import open_host
from nightdesk.model.desk import ModelServer
from nightdesk.model.process import ProcessRow
from nightdesk.model.sample import Sample


class MemoryWatch:
    """Reads the machine's memory when asked."""

    def __init__(
        self,
        rows: Callable[[], Iterable[ProcessRow]],
        servers: Callable[[], Iterable[ModelServer]],
        samples: Callable[[], Sequence[Sample]],
    ) -> None:
        self._host = open_host()
        self._rows = rows
        self._servers = servers
        self._samples = samples

    def read(self) -> Memory | None:
        """The memory now; None where this system does not tell. Takes a fraction of a millisecond."""
        reading = self._host.read()
        if reading.memory_total_bytes is None or reading.memory_used_bytes is None:
            return None
        used: Counter[str] = Counter()
        for row in self._rows():
            if row.run is not None and row.rss_bytes is not None:
                used[row.run] += row.rss_bytes
        free = reading.memory_total_bytes - reading.memory_used_bytes
        return Memory(free, reading.memory_total_bytes, used, self._models())

    def devices(self) -> DeviceMemory | None:
        """What is in use on accelerators that have memory of their own, as of the newest sample.

        None where there are none, or it is not known.
        """
        sample = next(reversed(self._samples()), None)
        used = [
            device.memory_used_bytes
            for device in (sample.devices if sample else ())
            if device.memory_total_bytes is not None
            and device.memory_used_bytes is not None
            and not device.shares_memory
        ]
        return DeviceMemory(sample.at_ns, sum(used)) if sample and used else None

    def _models(self) -> int:
        """What loaded models take of the machine's memory: where accelerators have their own, what is not there."""
        own = self.devices() is not None
        models = [model for server in self._servers() for model in server.models]
        return sum((model.size_bytes or 0) - ((own and model.vram_bytes) or 0) for model in models)
