"""Reads the reports of ``nvidia-smi``: XML (``-q -x``) of versions 11 to 13, and CSV (``--query-gpu=…``)."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from xml.etree import ElementTree

import msgspec

from nightdesk.core.sensors.apple import clamp
from nightdesk.core.sensors.broken_xml import mended_xml
from nightdesk.core.sensors.nvidia import throttle_words
from nightdesk.model.sample import Device, DeviceProcess, Sample, Slice

_MIB: Final = 1024 * 1024
_NS: Final = 1_000_000_000
MAX_LINE_BYTES: Final = 65_536
MOST_CARDS: Final = 256
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def smi_sample(document: bytes, at_ns: int | None) -> Sample | None:
    """The sample in one report of ``nvidia-smi -q -x``; None where it is no such report.

    The schema of versions 11, 12 and 13 is understood; "N/A" and its relatives become unknown.
    """
    # Warnings may stand before it, and the beginning of a report that was cut off.
    start = document.rfind(b"<nvidia_smi_log")
    if start < 0 or b"<!ENTITY" in document:
        return None
    root = _root(document[start:])
    if root is None:
        root = _root(mended_xml(document[start:]))
    if root is None or root.tag != "nvidia_smi_log":
        return None
    devices = _smi_devices(root)
    unknown = {} if devices else {"devices": "The report lists no GPU."}
    at_ns = _stamp_ns(root.findtext("timestamp") or "") if at_ns is None else at_ns
    return Sample(at_ns=at_ns, elapsed_ns=0, source="nvidia-smi", devices=devices, unknown=unknown)


def _root(report: bytes) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(report)  # noqa: S314 - entities are refused by the caller
    except (ElementTree.ParseError, ValueError, LookupError):
        return None


def _smi_devices(root: ElementTree.Element) -> tuple[Device, ...]:
    """Every card. Identifiers that are masked, as in published reports, don't tell cards apart: their places do."""
    cards = root.findall("gpu")
    devices = [_smi_device(index, gpu) for index, gpu in enumerate(cards)]
    if len({device.id for device in devices}) < len(devices):
        places = [gpu.get("id") or f"nvidia{index}" for index, gpu in enumerate(cards)]
        devices = [
            msgspec.structs.replace(device, id=place) for device, place in zip(devices, places, strict=True)
        ]
    return tuple(devices)


def _stamp_ns(text: str) -> int:
    """``Fri Apr 10 10:23:01 2026`` in ns since the epoch; it names no time zone: this machine's is taken."""
    words = text.split()
    try:
        month = _MONTHS.index(words[1]) + 1
        hour, minute, second = (int(part) for part in words[3].split(":"))
        moment = datetime.datetime(int(words[4]), month, int(words[2]), hour, minute, second)
        return max(0, int(moment.timestamp()) * 1_000_000_000)
    except (ValueError, LookupError, OverflowError, OSError):
        return 0


def _power_paths(*names: str) -> tuple[str, ...]:
    return tuple(
        f"{section}/{name}" for name in names for section in ("gpu_power_readings", "power_readings")
    )


_Fields: TypeAlias = Mapping[str, tuple[tuple[str, ...], float]]
"""Name of a field → where its number may stand, and what makes base units of it."""
_XML_FIELDS: Final[_Fields] = {
    "active_ratio": (("utilization/gpu_util",), 0.01),
    # The section was called otherwise until there was a second kind of memory.
    "memory_used_bytes": (("fb_memory_usage/used", "memory_usage/used"), _MIB),
    "memory_total_bytes": (("fb_memory_usage/total", "memory_usage/total"), _MIB),
    "power_w": (
        ("gpu_power_readings/instant_power_draw", *_power_paths("power_draw", "average_power_draw")),
        1,
    ),
    "power_limit_w": (_power_paths("current_power_limit", "enforced_power_limit", "power_limit"), 1),
    "freq_hz": (("clocks/sm_clock", "clocks/graphics_clock"), 1e6),
    "temperature_c": (("temperature/gpu_temp",), 1),
    "fan_ratio": (("fan_speed",), 0.01),
}
_XML_EXTRAS: Final[_Fields] = {
    "memory_busy_ratio": (("utilization/memory_util",), 0.01),
    "encoder_ratio": (("utilization/encoder_util",), 0.01),
    "decoder_ratio": (("utilization/decoder_util",), 0.01),
    "max_freq_hz": (("max_clocks/sm_clock", "max_clocks/graphics_clock"), 1e6),
    "pcie_in_bytes_s": (("pci/rx_util",), 1000),
    "pcie_out_bytes_s": (("pci/tx_util",), 1000),
}
"""What few cards tell: whoever lacks it needs no reason."""


def _smi_device(index: int, gpu: ElementTree.Element) -> Device:
    fields = _values(_XML_FIELDS, gpu.findtext)
    return Device(
        id=gpu.findtext("uuid") or gpu.get("id") or f"nvidia{index}",
        kind="gpu",
        name=gpu.findtext("product_name") or "NVIDIA GPU",
        **fields,
        **_values(_XML_EXTRAS, gpu.findtext),
        performance_state=_smi_state(gpu),
        memory_errors=_smi_memory_errors(gpu),
        throttle=_smi_throttle(gpu),
        slices=_smi_slices(gpu),
        processes=tuple(_smi_processes(gpu)),
        unknown={
            name: _reason(_XML_FIELDS[name][0], gpu.findtext, "nvidia-smi reports no value for it.")
            for name, value in fields.items()
            if value is None
        },
    )


def _values(wanted: _Fields, text_at: Callable[[str], str | None]) -> dict[str, Any]:
    """The fields in base units: ratios within 0 to 1 (fans may tell more), whole bytes."""
    fields: dict[str, Any] = {}
    for name, (places, factor) in wanted.items():
        value = next(
            (found for place in places if (found := _number(text_at(place), factor)) is not None), None
        )
        if value is not None and name.endswith("_bytes"):
            value = int(value)
        fields[name] = clamp(value) if name.endswith("_ratio") else value
    return fields


def _reason(places: Iterable[str], text_at: Callable[[str], str | None], otherwise: str) -> str:
    """What stands where a number should, unless it says no more than that there is none."""
    for place in places:
        words = (text_at(place) or "").strip("[] \t\r\n")
        if words and words.casefold() not in _NO_WORDS:
            return f"nvidia-smi says: {words[:120]}."
    return otherwise


_NO_WORDS: Final = frozenset({"n/a", "not supported"})
_QUANTITY = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)")


def _number(text: str | None, factor: float) -> float | None:
    found = _QUANTITY.match(text or "")
    return round(float(found[1]) * factor, 9) if found else None


def _bytes(gpu: ElementTree.Element, path: str) -> int | None:
    mib = _number(gpu.findtext(path), 1)
    return None if mib is None else int(mib * _MIB)


def _smi_state(gpu: ElementTree.Element) -> str | None:
    """``P0`` to ``P15``; anything else is a sentence on why it is not known."""
    text = (gpu.findtext("performance_state") or "").strip()
    return text if re.fullmatch(r"P\d{1,2}", text) else None


def _smi_memory_errors(gpu: ElementTree.Element) -> int | None:
    """Memory errors since the driver was loaded that could not be corrected: schemas count them by place and kind."""
    volatile = gpu.find("ecc_errors/volatile")
    if volatile is None:
        return None
    names = ["double_bit/total", *(part.tag for part in volatile if "uncorrectable" in part.tag)]
    known = [count for name in names if (count := _number(volatile.findtext(name), 1)) is not None]
    return int(sum(known)) if known else None


_SMI_THROTTLE: Final = {
    "sw_power_cap": 0x04,
    "hw_slowdown": 0x08,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
}


def _smi_throttle(gpu: ElementTree.Element) -> tuple[str, ...]:
    mask = 0
    for section in ("clocks_event_reason", "clocks_throttle_reason"):
        for name, bit in _SMI_THROTTLE.items():
            if gpu.findtext(f"{section}s/{section}_{name}") == "Active":
                mask |= bit
    return throttle_words(mask)


def _smi_slices(gpu: ElementTree.Element) -> tuple[Slice, ...]:
    """The parts of a divided card. Its processes name the part they run in by two numbers."""
    found: list[Slice] = []
    for part in gpu.findall("mig_devices/mig_device"):
        place = [part.findtext(name) for name in ("gpu_instance_id", "compute_instance_id")]
        processes = [entry for entry in gpu.findall("processes/process_info") if _place(entry) == place]
        index = part.findtext("index") or str(len(found))
        cores = part.findtext("device_attributes/shared/multiprocessor_count")
        found.append(
            Slice(
                id=f"mig{index}",
                name=f"slice {index}" + (f", {cores} multiprocessors" if cores else ""),
                memory_used_bytes=_bytes(part, "fb_memory_usage/used"),
                memory_total_bytes=_bytes(part, "fb_memory_usage/total"),
                processes=tuple(_processes(processes)),
            )
        )
    return tuple(found)


def _place(entry: ElementTree.Element) -> list[str | None]:
    return [entry.findtext(name) for name in ("gpu_instance_id", "compute_instance_id")]


def _smi_processes(gpu: ElementTree.Element) -> list[DeviceProcess]:
    return _processes(gpu.findall("processes/process_info"))


def _processes(entries: Iterable[ElementTree.Element]) -> list[DeviceProcess]:
    found = []
    for entry in entries:
        pid = entry.findtext("pid") or ""
        if pid.isascii() and pid.isdigit() and len(pid) < 12:
            found.append(DeviceProcess(pid=int(pid), memory_bytes=_bytes(entry, "used_memory")))
    return found


CSV_MARKS: Final = (
    "utilization.gpu",
    "memory.used",
    "power.draw",
    "fan.speed",
    "temperature.gpu",
    "pci.bus_id",
)
NOT_ASKED: Final = "The query did not ask for it, or the card does not report it."
_CSV_FIELDS: Final[_Fields] = {
    "active_ratio": (("utilization.gpu",), 0.01),
    "memory_used_bytes": (("memory.used",), _MIB),
    "memory_total_bytes": (("memory.total",), _MIB),
    "power_w": (("power.draw.instant", "power.draw", "power.draw.average"), 1),
    "power_limit_w": (("enforced.power.limit", "power.limit"), 1),
    "freq_hz": (("clocks.current.sm", "clocks.sm", "clocks.current.graphics", "clocks.gr"), 1e6),
    "temperature_c": (("temperature.gpu",), 1),
    "fan_ratio": (("fan.speed",), 0.01),
    "memory_busy_ratio": (("utilization.memory",), 0.01),
    "encoder_ratio": (("utilization.encoder",), 0.01),
    "decoder_ratio": (("utilization.decoder",), 0.01),
}


class NvidiaCsvReader:
    """Reads the lines below a heading; a card that comes again begins the next sample."""

    def __init__(self, interval_ns: int = _NS) -> None:
        self.dropped = 0
        """Lines that could not be read."""
        self.oversized = 0
        """Lines longer than :data:`MAX_LINE_BYTES`."""
        self._interval_ns = interval_ns
        self._buffer = b""
        self._names: list[str] = []
        self._cards: dict[str, Device] = {}
        self._at_ns = self._last_ns = 0

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples that are complete now; ``at_ns`` None takes the column ``timestamp`` where there is one."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE_BYTES:
            self.oversized += 1
            self._buffer = b""
        texts = (line[:MAX_LINE_BYTES].decode("utf-8", "replace").strip() for line in lines)
        found = [self._line(text, at_ns) for text in texts if text]
        return [sample for sample in found if sample is not None]

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """The sample that the end of the text completes."""
        rest = self.feed(b"\n", at_ns)
        last = self._finish()
        return rest if last is None else [*rest, last]

    def _line(self, line: str, at_ns: int | None) -> Sample | None:
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True))]
        except (StopIteration, csv.Error):
            return None
        names = [re.sub(r"\s*\[.*\]$", "", cell) for cell in cells]
        if any(name in CSV_MARKS for name in names):
            self._names = names
            return None
        if len(cells) != len(self._names):
            self.dropped += 1
            return None
        row = dict(zip(self._names, cells, strict=True))
        if not row.get("index", "0").isdecimal():
            # The rest of a row that was cut within its first cell.
            self.dropped += 1
            return None
        return self._card(row, at_ns)

    def _card(self, row: Mapping[str, str], at_ns: int | None) -> Sample | None:
        key = row.get("index") or row.get("pci.bus_id") or row.get("uuid") or ""
        finished = self._finish() if self._begins(key) else None
        self._at_ns = _row_ns(row.get("timestamp", "")) if at_ns is None else at_ns
        self._cards[key] = _csv_device(len(self._cards), row)
        return finished

    def _begins(self, key: str) -> bool:
        """A card that comes again begins the next sample, or one before the last: a table may begin in the middle."""
        if key in self._cards or len(self._cards) >= MOST_CARDS:
            return True
        last = next(reversed(self._cards), "")
        return key.isdecimal() and last.isdecimal() and len(key) < 9 and int(key) < int(last[:9])

    def _finish(self) -> Sample | None:
        cards, self._cards = tuple(self._cards.values()), {}
        if not cards:
            return None
        before_ns, self._last_ns = self._last_ns, self._at_ns
        elapsed_ns = self._at_ns - before_ns if before_ns else self._interval_ns
        return Sample(at_ns=self._at_ns, elapsed_ns=max(0, elapsed_ns), source="nvidia-smi", devices=cards)


def _row_ns(text: str) -> int:
    """``2026/04/10 10:23:01.123`` in ns since the epoch, in this machine's time zone, because it names none."""
    try:
        return max(0, int(datetime.datetime.strptime(text, "%Y/%m/%d %H:%M:%S.%f").timestamp() * 1e6) * 1000)
    except (ValueError, OverflowError, OSError):
        return 0


def _csv_device(index: int, row: Mapping[str, str]) -> Device:
    fields = _values(_CSV_FIELDS, row.get)
    asked = ("active_ratio", "memory_used_bytes", "memory_total_bytes", "power_w", "freq_hz", "temperature_c")
    return Device(
        id=row.get("pci.bus_id") or row.get("uuid") or f"nvidia{row.get('index') or index}",
        kind="gpu",
        name=row.get("name") or row.get("gpu_name") or "NVIDIA GPU",
        **fields,
        throttle=_csv_throttle(row),
        unknown={
            name: _reason(_CSV_FIELDS[name][0], row.get, NOT_ASKED) for name in asked if fields[name] is None
        },
    )


def _csv_throttle(row: Mapping[str, str]) -> tuple[str, ...]:
    mask = 0
    for name, text in row.items():
        word = name.rpartition(".")[2]
        if "_reasons." in name and word in _SMI_THROTTLE and text == "Active":
            mask |= _SMI_THROTTLE[word]
        elif name.endswith("_reasons.active") and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text):
            mask |= int(text, 16)
    return throttle_words(mask)
