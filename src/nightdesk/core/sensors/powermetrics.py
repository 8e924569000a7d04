"""Reads the plist stream of Apple's ``powermetrics``: bytes in, samples out.

Every section and key is optional: chips, systems and single documents differ. Ratios come from the cores, because
a cluster's own numbers say when any of its cores ran. What a document does not say is unknown, with the reason.
"""

from __future__ import annotations

import datetime
import plistlib
from typing import Any, Final
from xml.parsers.expat import ExpatError

from nightdesk.core.sensors.apple import (
    INTEL,
    NO_PROCESSOR,
    AppleCounters,
    CoreTimes,
    build_sample,
    capacity,
    finite,
    ratio_of,
)
from nightdesk.core.sensors.broken_xml import mended_xml
from nightdesk.model.sample import CpuTier, Sample

MAX_DOCUMENT_BYTES: Final = 4_000_000
"""Documents are 17 to 65 kB, 550 kB with task lists; a stream that never ends one must not eat memory."""
_START: Final = b"<plist"
_END: Final = b"</plist>"
_SURELY_HZ: Final = 1e6
_KNOWN_KEYS: Final = frozenset({"elapsed_ns", "processor", "gpu", "thermal_pressure"})
_NS: Final = 1_000_000_000
_LAST_SECOND: Final = 2**63 // _NS


class PowermetricsReader:
    """Cuts the stream at ``</plist>``, because the NUL comes only before the next document, a whole interval late."""

    def __init__(self) -> None:
        self.dropped = 0
        """Documents that could not be read: damaged, cut off, or not by powermetrics."""
        self.oversized = 0
        """Times the stream ran past :data:`MAX_DOCUMENT_BYTES` without ending a document."""
        self._buffer = bytearray()
        self._searched = 0

    @property
    def buffered(self) -> int:
        """Bytes held for a document that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples of the documents that end within ``data``, in stream order.

        ``at_ns`` is the time of arrival; where None, each document's own time stamp (whole seconds) is used.
        """
        self._buffer += data
        samples: list[Sample] = []
        while (end := self._buffer.find(_END, self._searched)) >= 0:
            sample = self._document(end, at_ns)
            if sample is not None:
                samples.append(sample)
            del self._buffer[: end + len(_END)]
            self._searched = 0
        self._trim()
        return samples

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """Nothing more: a document that the end of the stream cuts off is dropped and counted."""
        self.dropped += _START in self._buffer
        self._buffer.clear()
        self._searched = 0
        return []

    def _document(self, end: int, at_ns: int | None) -> Sample | None:
        start = self._buffer.rfind(_START, 0, end)
        if start < 0:
            self.dropped += 1
            return None
        self.dropped += self._buffer.count(_START, 0, start)
        if end - start > MAX_DOCUMENT_BYTES:
            self.oversized += 1
            return None
        sample = sample_of_document(bytes(self._buffer[start : end + len(_END)]), at_ns)
        self.dropped += sample is None
        return sample

    def _trim(self) -> None:
        start = self._buffer.find(_START)
        if start > 0 or start < 0:
            del self._buffer[: start if start > 0 else max(0, len(self._buffer) - len(_END))]
        if len(self._buffer) > MAX_DOCUMENT_BYTES:
            self.oversized += 1
            del self._buffer[: -len(_END)]
        self._searched = max(0, len(self._buffer) - len(_END))


def sample_of_document(document: bytes, at_ns: int | None = None) -> Sample | None:
    """The sample in one plist document; None where it is damaged or not a document of powermetrics."""
    root = _root(document)
    if root is None and (mended := mended_xml(document)) != document:
        root = _root(mended)
    if root is None or not _KNOWN_KEYS & root.keys():
        return None
    return build_sample(_counters(root), source="powermetrics", at_ns=_time(root, at_ns))


def _root(document: bytes) -> dict[str, Any] | None:
    try:
        root = plistlib.loads(document, fmt=plistlib.FMT_XML)
    except (ExpatError, ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return None
    return root if isinstance(root, dict) else None


def _time(root: dict[str, Any], at_ns: int | None) -> int:
    if at_ns is not None:
        return at_ns
    stamp = root.get("timestamp")
    if not isinstance(stamp, datetime.datetime):
        return 0
    seconds = int(stamp.replace(tzinfo=datetime.UTC).timestamp())
    return seconds * _NS if 0 < seconds < _LAST_SECOND else 0


def _counters(root: dict[str, Any]) -> AppleCounters:
    processor = _section(root, "processor")
    gpu = _section(root, "gpu")
    elapsed_ns = max(0, int(finite(root.get("elapsed_ns")) or 0))
    entries = _dicts(processor, "clusters")
    clusters = [_cluster(entry) for entry in entries]
    intel = processor is not None and not entries and "packages" in processor
    power = {
        part: _power_w(processor, part, elapsed_ns) for part in ("cpu", "gpu", "ane", "combined", "package")
    }
    thermal = root.get("thermal_pressure")
    return AppleCounters(
        elapsed_ns=elapsed_ns,
        has_processor=processor is not None and not intel,
        no_processor=INTEL if intel else NO_PROCESSOR,
        has_gpu=gpu is not None,
        tiers=tuple(tier for tier, _ in clusters),
        cores=tuple(core for _, cores in clusters for core in cores),
        clusters=tuple(_active(entry) for entry in entries),
        cpu_w=power["cpu"],
        # One source throughout: the two sections are sampled at slightly different moments.
        gpu_w=power["gpu"] if power["gpu"] is not None else _power_w(gpu, "gpu", elapsed_ns),
        ane_w=power["ane"],
        package_w=power["combined"] if power["combined"] is not None else power["package"],
        gpu_active=_active(gpu or {}),
        gpu_scaled=capacity(_states(gpu or {})),
        scaled_from_states=True,
        gpu_hz=_gpu_hz(gpu or {}),
        thermal=thermal if isinstance(thermal, str) and thermal else None,
        from_energy=not any(finite(_power_key(section)) is not None for section in (processor, gpu)),
    )


def _section(root: dict[str, Any], key: str) -> dict[str, Any] | None:
    value = root.get(key)
    return value if isinstance(value, dict) else None


def _dicts(section: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    value = (section or {}).get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _cluster(entry: dict[str, Any]) -> tuple[CpuTier, list[CoreTimes]]:
    name = entry.get("name")
    cpus = _dicts(entry, "cpus")
    cores = [CoreTimes(_active(cpu)) for cpu in cpus]
    tier = CpuTier(
        name=name if isinstance(name, str) and name else "CPU",
        ratio=ratio_of(cores),
        scaled_ratio=ratio_of([CoreTimes(capacity(_states(cpu))) for cpu in cpus]),
        freq_hz=finite(entry.get("freq_hz")),
        cores=len(cpus),
    )
    return tier, cores


def _states(entry: dict[str, Any]) -> list[tuple[float, float]]:
    """Clock and share of time, as far as both are told; clocks are neither sorted nor unique."""
    pairs = ((finite(one.get("freq")), finite(one.get("used_ratio"))) for one in _dicts(entry, "dvfm_states"))
    return [(clock, share) for clock, share in pairs if clock is not None and share is not None]


def _active(entry: dict[str, Any]) -> float | None:
    idle = finite(entry.get("idle_ratio"))
    if idle is None:
        return None
    down = finite(entry.get("down_ratio")) or 0.0
    return min(1.0, max(0.0, 1.0 - idle - down))


def _power_w(section: dict[str, Any] | None, part: str, elapsed_ns: int) -> float | None:
    """Watts of ``part``: its power in mW where given, else its energy in mJ over the true length of the sample."""
    if section is None:
        return None
    power_mw = finite(section.get(f"{part}_power"))
    if power_mw is not None:
        return power_mw / 1000
    energy_mj = finite(section.get(f"{part}_energy"))
    if energy_mj is None or elapsed_ns <= 0:
        return None
    return energy_mj * 1_000_000 / elapsed_ns


def _power_key(section: dict[str, Any] | None) -> Any:
    """The first power that a section gives in mW."""
    return next((value for key, value in (section or {}).items() if key.endswith("_power")), None)


def _gpu_hz(gpu: dict[str, Any]) -> float | None:
    """Hertz of the GPU, whose ``freq_hz`` is in MHz in spite of its name (a version that mends this is understood)."""
    value = finite(gpu.get("freq_hz"))
    return value if value is None or value >= _SURELY_HZ else value * 1e6
