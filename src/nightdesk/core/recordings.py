"""Recognises a recording of measurements by its first bytes and gives the reader for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from nightdesk.core.amdgpu import rocm_sample
from nightdesk.core.macmon import MacmonReader
from nightdesk.core.nvidia import smi_sample
from nightdesk.core.powermetrics import PowermetricsReader
from nightdesk.core.powermetrics_text import PowermetricsTextReader
from nightdesk.model.errors import NightdeskError
from nightdesk.model.sample import Sample

HEAD_BYTES: Final = 16_384
"""So much of a recording is enough to know its kind."""
MAX_REPORT_BYTES: Final = 16_000_000
SUPPORTED: Final = (
    "Supported: powermetrics (plist or text), macmon pipe (JSON lines), "
    "nvidia-smi -q -x (XML), rocm-smi -a --json (JSON)."
)


class RecordingReader(Protocol):
    """A sans-io reader of one kind of recording."""

    dropped: int

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples that are complete now; ``at_ns`` None takes the recording's own times."""

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """Samples that the end of the recording completes."""


def reader_for(head: bytes) -> RecordingReader:
    """The reader for a recording that begins with ``head``. Raises NightdeskError for an unknown kind."""
    start = head.lstrip(b"\0 \t\r\n\xef\xbb\xbf")
    if b"<nvidia_smi_log" in head:
        return ReportReader(smi_sample, b"</nvidia_smi_log>")
    if b"<plist" in head:
        return PowermetricsReader()
    if b"*** Sampled system activity" in head or start.startswith(b"Machine model:"):
        return PowermetricsTextReader()
    if start.startswith(b"{"):
        first_line = start.split(b"\n", 1)[0]
        return MacmonReader() if b'"gpu_power"' in first_line else ReportReader(rocm_sample, None)
    raise NightdeskError("This is no recording of measurements that Nightdesk knows.", SUPPORTED)


class ReportReader:
    """Collects whole reports that end with ``mark`` (or with the recording, where None) and reads each at once."""

    def __init__(self, read: Callable[[bytes, int], Sample | None], mark: bytes | None) -> None:
        self.dropped = 0
        """Reports that could not be read."""
        self._read = read
        self._mark = mark
        self._buffer = bytearray()

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples of the reports that end within ``data``."""
        searched = max(0, len(self._buffer) - len(self._mark or b""))
        self._buffer += data
        samples: list[Sample] = []
        while self._mark and (end := self._buffer.find(self._mark, searched)) >= 0:
            report = bytes(self._buffer[: end + len(self._mark)])
            del self._buffer[: len(report)]
            searched = 0
            samples += self._report(report, at_ns)
        if len(self._buffer) > MAX_REPORT_BYTES:
            self._buffer.clear()
            self.dropped += 1
        return samples

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """The sample of a report that ends with the recording."""
        report = bytes(self._buffer).strip()
        self._buffer.clear()
        return self._report(report, at_ns) if report else []

    def _report(self, report: bytes, at_ns: int | None) -> list[Sample]:
        sample = self._read(report.strip(), at_ns or 0)
        self.dropped += sample is None
        return [] if sample is None else [sample]
