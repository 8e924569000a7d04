"""Recognises a recording of measurements by its first bytes and gives the reader for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from nightdesk.core.sensors.amd_smi import AmdSmiReader
from nightdesk.core.sensors.amdgpu import RocmReader
from nightdesk.core.sensors.amdgpu_top import AmdgpuTopReader
from nightdesk.core.sensors.macmon import MacmonReader
from nightdesk.core.sensors.mactop import MactopReader
from nightdesk.core.sensors.nvidia_smi import CSV_MARKS, NvidiaCsvReader, smi_sample
from nightdesk.core.sensors.objects import ObjectCutter
from nightdesk.core.sensors.powermetrics import PowermetricsReader
from nightdesk.core.sensors.powermetrics_text import PowermetricsTextReader
from nightdesk.model.errors import NightdeskError
from nightdesk.model.sample import Sample

HEAD_BYTES: Final = 16_384
"""So much of a recording is enough to know its kind."""
MAX_REPORT_BYTES: Final = 16_000_000
SUPPORTED: Final = (
    "Supported: powermetrics (plist or text), asitop's file, macmon pipe, mactop --headless --format json, "
    "nvidia-smi -q -x or --query-gpu with a heading, rocm-smi -a --json, amd-smi metric --json, amdgpu_top -J."
)


_TEXT: Final = re.compile(
    rb"^(?:Machine model:|\*{4} (?:Processor|GPU) usage|\w{1,24}-Cluster .{0,40}(?:frequency|residency|Power):"
    rb"|(?:CPU|GPU|ANE) Power: )",
    re.MULTILINE,
)
"""Lines of the text of powermetrics, also in an excerpt of it."""


_AMD_SMI: Final = (
    b'"gfx_activity"',
    b'"socket_power"',
    b'"gpu_data"',
    b'"market_name"',
    b'"mem_usage"',
    b'"fb_usage"',
    b'"power_usage"',
    b'"vram_used"',
)
"""Keys of ``amd-smi``, one of which stands in each of its reports."""


class RecordingReader(Protocol):
    """A sans-io reader of one kind of recording."""

    @property
    def dropped(self) -> int:
        """Documents that could not be read."""

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples that are complete now; ``at_ns`` None takes the recording's own times."""

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """Samples that the end of the recording completes."""


def reader_for(head: bytes) -> RecordingReader:
    """The reader for a recording that begins with ``head``. Raises NightdeskError for an unknown kind."""
    if b"<nvidia_smi_log" in head:
        return ReportReader(smi_sample, b"</nvidia_smi_log>")
    if b"<plist" in head or head.lstrip(b"\0 \t\r\n\xef\xbb\xbf").startswith(b"<?xml"):
        return PowermetricsReader()
    if b"*** Sampled system activity" in head or _TEXT.search(head):
        return PowermetricsTextReader()
    reader = _json_reader(head) or _csv_reader(head)
    if reader is None:
        raise NightdeskError("This is not a recording of measurements that Nightdesk knows.", SUPPORTED)
    return reader


def _json_reader(head: bytes) -> RecordingReader | None:
    """By keys that only one program writes, wherever they stand: what comes before may be cut or foreign."""
    if b"{" not in head:
        return None
    if b'"soc_metrics"' in head:
        return MactopReader()
    if any(key in head for key in (b'"gpu_activity"', b'"GRBM"', b'"Total VRAM"', b'"amdgpu_top_version"')):
        return AmdgpuTopReader()
    if re.search(rb'"card\d+"\s*:', head):
        return RocmReader()
    if b'"gpu"' in head and any(key in head for key in _AMD_SMI):
        return AmdSmiReader()
    if any(key in head for key in (b'"gpu_power"', b'"gpu_usage"', b'"ecpu_usage"', b'"cpu_power"')):
        return MacmonReader()
    return None


def _csv_reader(head: bytes) -> RecordingReader | None:
    first = head.split(b"\n", 1)[0].decode("utf-8", "replace")
    names = {re.sub(r"\s*\[.*\]$", "", cell.strip()) for cell in first.split(",")}
    return NvidiaCsvReader() if len(names) > 1 and names & set(CSV_MARKS) else None


class Recording:
    """A recording whose kind is found out as its bytes come, as early as it is certain: a live pipe is one as well."""

    def __init__(self) -> None:
        self._head = b""
        self._reader: RecordingReader | None = None

    @property
    def dropped(self) -> int:
        """Documents that could not be read."""
        return self._reader.dropped if self._reader else 0

    def feed(self, data: bytes) -> list[Sample]:
        """Samples that are complete now. Raises NightdeskError where the beginning is of no known kind."""
        if self._reader is not None:
            return self._reader.feed(data)
        self._head += data
        if len(self._head) < HEAD_BYTES and not _is_certain(self._head):
            return []
        return self._begin()

    def end(self) -> list[Sample]:
        """Samples that the end completes. Raises NightdeskError for a recording of no known kind."""
        if self._reader is not None:
            return self._reader.end()
        return [*self._begin(), *self.end()]

    def _begin(self) -> list[Sample]:
        self._reader = reader_for(self._head[:HEAD_BYTES])
        head, self._head = self._head, b""
        return self._reader.feed(head)


def _is_certain(head: bytes) -> bool:
    """Whether what is still to come can't change the kind: a mark is there, or a whole object, or a whole heading."""
    if b"<nvidia_smi_log" in head or b"<plist" in head or b"*** Sampled system activity" in head:
        return True
    whole = b"".join(head.splitlines(keepends=True)[:-1])
    if b"{" in head:
        return bool(ObjectCutter().feed(head)) and _json_reader(head) is not None
    return bool(_TEXT.search(whole)) or _csv_reader(whole) is not None


class ReportReader:
    """Collects whole reports that end with ``mark`` and reads each at once."""

    def __init__(
        self,
        read: Callable[[bytes, int | None], Sample | None],
        mark: bytes,
        interval_ns: int = 1_000_000_000,
    ) -> None:
        self.dropped = 0
        """Reports that could not be read."""
        self.oversized = 0
        """Times a report ran past :data:`MAX_REPORT_BYTES`."""
        self._interval_ns = interval_ns
        self._last_ns = 0
        self._read = read
        self._mark = mark
        self._buffer = bytearray()

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples of the reports that end within ``data``."""
        searched = max(0, len(self._buffer) - len(self._mark))
        self._buffer += data
        samples: list[Sample] = []
        while (end := self._buffer.find(self._mark, searched)) >= 0:
            report = bytes(self._buffer[: end + len(self._mark)])
            del self._buffer[: len(report)]
            searched = 0
            samples += self._report(report, at_ns)
        if len(self._buffer) > MAX_REPORT_BYTES:
            self._buffer.clear()
            self.dropped += 1
            self.oversized += 1
        return samples

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """Nothing more: a report that the end of the recording cuts off is dropped and counted."""
        self.dropped += bool(self._buffer.strip(b"\0 \t\r\n"))
        self._buffer.clear()
        return []

    def _report(self, report: bytes, at_ns: int | None) -> list[Sample]:
        sample = self._read(report, at_ns)
        if sample is None:
            self.dropped += 1
            return []
        before_ns, self._last_ns = self._last_ns, sample.at_ns
        elapsed_ns = sample.at_ns - before_ns if before_ns else self._interval_ns
        return [msgspec.structs.replace(sample, elapsed_ns=max(0, elapsed_ns))]
