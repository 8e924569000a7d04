"""NVIDIA cards through the driver's own library (``pynvml`` of nvidia-ml-py, an optional part)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from nightdesk.core.nvidia import NvmlFault, nvml_fault, throttle_words
from nightdesk.engine.sensors.source import Reading
from nightdesk.model.sample import Device, DeviceProcess

NO_BINDING = "The Python part for NVIDIA cards is not installed. Add it: pip install 'nightdesk[nvidia]'"
_NS = 1_000_000_000
_SLOW_NS = 5 * _NS
"""Limits and fans change slowly and are asked for this seldom."""
_FIRST_PAUSE_NS, _LONGEST_PAUSE_NS, _RARE_PAUSE_NS = 2 * _NS, 60 * _NS, 300 * _NS


class NvmlSource:
    """Reads every card at each call. An error in one value blanks that value; a lost driver is opened again."""

    name = "nvml"

    def __init__(self, load: Callable[[], Any] | None = None) -> None:
        self._load = load or (lambda: importlib.import_module("pynvml"))
        self._nvml: Any = None
        self._cards: list[_Card] = []
        self._open = False
        self._again_ns = 0
        self._pause_ns = _FIRST_PAUSE_NS
        self._problem: str | None = None
        self._broken = False

    def read(self, now_ns: int) -> Reading:
        """The cards now; ``now_ns`` is any clock that only goes forward."""
        if now_ns >= self._again_ns and (not self._open or self._cards_lost()):
            self._reopen(now_ns)
        if not self._open:
            return Reading(problem=self._problem, broken=self._broken)
        devices = tuple(card.read(now_ns) for card in self._cards)
        lost = self._cards_lost()
        if not lost:
            self._pause_ns = _FIRST_PAUSE_NS
        elif now_ns >= self._again_ns:
            self._later(now_ns)
        if any(card.fault is not None and card.fault.scope == "driver" for card in self._cards):
            self._fail(str(nvml_fault(1)), now_ns)
            return Reading(problem=self._problem, broken=True)
        all_lost = bool(devices) and len(lost) == len(devices)
        return Reading(devices=devices, problem=str(lost[0].fault) if all_lost else None, broken=all_lost)

    def close(self) -> None:
        """Gives the driver's library back; what it says to that does not matter any more."""
        if self._open:
            self._open = False
            self._ask(self._nvml.nvmlShutdown)
        self._cards = []

    def _cards_lost(self) -> list[_Card]:
        return [card for card in self._cards if card.fault is not None]

    def _later(self, now_ns: int) -> None:
        self._again_ns = now_ns + self._pause_ns
        self._pause_ns = min(_LONGEST_PAUSE_NS, self._pause_ns * 2)

    def _fail(self, problem: str, now_ns: int, *, rare: bool = False) -> None:
        self.close()
        self._problem, self._broken = problem, not rare
        self._later(now_ns)
        if rare:
            self._again_ns = now_ns + _RARE_PAUSE_NS

    def _reopen(self, now_ns: int) -> None:
        self.close()
        try:
            self._nvml = self._nvml or self._load()
        except ImportError:
            self._fail(NO_BINDING, now_ns, rare=True)
            return
        fault = self._ask(self._nvml.nvmlInit)
        if fault is not None:
            self._fail(str(fault), now_ns, rare=fault.rare)
            return
        self._open = True
        self._problem = None
        fault = self._ask(self._find_cards)
        if fault is not None:
            self._fail(str(fault), now_ns, rare=fault.rare)
        elif not self._cards:
            self._fail("The NVIDIA driver runs, but it sees no card.", now_ns, rare=True)

    def _find_cards(self) -> None:
        count = self._nvml.nvmlDeviceGetCount()
        self._cards = [_Card(self._nvml, index) for index in range(count)]

    def _ask(self, call: Callable[[], Any]) -> NvmlFault | None:
        try:
            call()
        except self._nvml.NVMLError as error:
            return nvml_fault(_code(error))
        return None


class _Card:
    """One card: its handle, and the values that are not read every time."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._index = index
        self.fault: NvmlFault | None = None
        """Set while the card as a whole does not answer."""
        self._unknown: dict[str, str] = {}
        self._answers = 0
        self._slow: dict[str, float | None] = {}
        self._slow_unknown: dict[str, str] = {}
        self._slow_at = -_SLOW_NS
        self._handle: Any = None
        self._id = f"nvidia{index}"
        self._name = f"NVIDIA GPU {index}"

    def read(self, now_ns: int) -> Device:
        """The card now. What it does not answer is unknown, with the reason."""
        self._unknown, self._answers, self.fault = {}, 0, None
        if self._handle is None:
            self._introduce()
        fields = self._fields(now_ns) if self._handle is not None else {}
        if not self._answers and self.fault is None:
            reason = next(iter(self._unknown.values()), "")
            self.fault = NvmlFault(f"The card answers nothing. {reason}".strip(), scope="device")
        if self.fault is not None:
            whole = dict.fromkeys(("active_ratio", "memory_used_bytes", "power_w"), str(self.fault))
            return Device(id=self._id, kind="gpu", name=self._name, unknown=whole)
        return Device(id=self._id, kind="gpu", name=self._name, **fields, unknown=self._unknown)

    def _introduce(self) -> None:
        nvml = self._nvml
        self._handle = self._value("active_ratio", lambda: nvml.nvmlDeviceGetHandleByIndex(self._index))
        if self._handle is not None:
            self._id = self._value("", lambda: _text(nvml.nvmlDeviceGetUUID(self._handle))) or self._id
            self._name = self._value("", lambda: _text(nvml.nvmlDeviceGetName(self._handle))) or self._name
            self._unknown.pop("", None)
            self._answers = 0

    def _fields(self, now_ns: int) -> dict[str, Any]:
        nvml, handle = self._nvml, self._handle
        memory = self._value("memory_used_bytes", self._memory)
        if memory is None and "memory_used_bytes" in self._unknown:
            self._unknown["memory_total_bytes"] = self._unknown["memory_used_bytes"]
        fields = {
            "active_ratio": self._value(
                "active_ratio", lambda: min(1.0, nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
            ),
            "memory_used_bytes": None if memory is None else int(memory.used),
            "memory_total_bytes": None if memory is None else int(memory.total),
            "power_w": self._value("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            "freq_hz": self._value(
                "freq_hz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6
            ),
            "temperature_c": self._value(
                "temperature_c",
                lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            ),
            "throttle": self._value("throttle", lambda: throttle_words(self._clock_reasons())) or (),
            "processes": self._value("processes", self._processes) or (),
        }
        return fields | self._slow_fields(now_ns)

    def _slow_fields(self, now_ns: int) -> dict[str, float | None]:
        nvml, handle = self._nvml, self._handle
        if now_ns - self._slow_at >= _SLOW_NS:
            self._slow_at = now_ns
            before, self._unknown = self._unknown, {}
            self._slow = {
                "power_limit_w": self._value(
                    "power_limit_w", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
                ),
                "fan_ratio": self._value("fan_ratio", lambda: nvml.nvmlDeviceGetFanSpeed(handle) / 100),
            }
            self._slow_unknown, self._unknown = self._unknown, before
        self._unknown |= self._slow_unknown
        return self._slow

    def _value(self, field: str, call: Callable[[], Any]) -> Any:
        if self.fault is not None:
            return None
        try:
            value = call()
        except self._nvml.NVMLError as error:
            fault = nvml_fault(_code(error))
            self._unknown[field] = str(fault)
            if fault.scope != "metric":
                self.fault = fault
            return None
        except AttributeError:
            self._unknown[field] = "The installed nvidia-ml-py does not know this call. Update it."
            return None
        self._answers += 1
        return value

    def _memory(self) -> Any:
        """Memory with the driver's own part left out of "used", where the driver can tell them apart."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        if version is not None:
            try:
                return self._nvml.nvmlDeviceGetMemoryInfo(self._handle, version)
            except self._nvml.NVMLError as error:
                if _code(error) not in (13, 25):
                    raise
        return self._nvml.nvmlDeviceGetMemoryInfo(self._handle)

    def _clock_reasons(self) -> int:
        newer = getattr(self._nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        if newer is not None:
            try:
                return int(newer(self._handle))
            except self._nvml.NVMLError as error:
                if _code(error) != 13:
                    raise
        return int(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))

    def _processes(self) -> tuple[DeviceProcess, ...]:
        held: dict[int, int | None] = {}
        for kind in ("Compute", "Graphics"):
            for entry in getattr(self._nvml, f"nvmlDeviceGet{kind}RunningProcesses")(self._handle):
                used = None if entry.usedGpuMemory is None else int(entry.usedGpuMemory)
                known = held.get(entry.pid)
                held[entry.pid] = used if known is None else max(known, used or 0)
        return tuple(DeviceProcess(pid=pid, memory_bytes=used) for pid, used in held.items())


def _code(error: Exception) -> int:
    return int(getattr(error, "value", 999))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
