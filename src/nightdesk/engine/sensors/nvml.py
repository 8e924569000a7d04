"""NVIDIA cards through the driver's own library (``pynvml`` of nvidia-ml-py, an optional part)."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nightdesk.core.sensors.apple import clamp
from nightdesk.core.sensors.nvidia import NvmlFault, nvml_fault, throttle_words
from nightdesk.engine.sensors.source import Reading
from nightdesk.model.sample import Device, DeviceProcess, Slice

NO_BINDING = "The Python part for NVIDIA cards is not installed. Add it: pip install 'nightdesk[nvidia]'"
SHARED = "The GPU works in the machine's memory; its part is not reported."
_NS = 1_000_000_000
_SLOW_NS = 5 * _NS
"""Limits and fans change slowly and are asked for this seldom."""
_LAST_STATE = 15
"""P0 to P15; 32 means that the driver does not know."""
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
        self._slow: dict[str, Any] = {}
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
        memory = self._value("memory_used_bytes", lambda: self._memory(handle))
        if self._unknown.get("memory_used_bytes") == str(nvml_fault(3)):
            self._unknown["memory_used_bytes"] = SHARED
        if memory is None and "memory_used_bytes" in self._unknown:
            self._unknown["memory_total_bytes"] = self._unknown["memory_used_bytes"]
        rates = self._value("active_ratio", lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        fields = {
            "active_ratio": None if rates is None else min(1.0, rates.gpu / 100),
            "memory_busy_ratio": None if rates is None else min(1.0, rates.memory / 100),
            "shares_memory": self._unknown.get("memory_used_bytes") == SHARED,
            "memory_used_bytes": None if memory is None else int(memory.used),
            "memory_total_bytes": None if memory is None else int(memory.total),
            "power_w": self._value("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            "freq_hz": self._value(
                "freq_hz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6
            ),
            "temperature_c": self._value("temperature_c", self._temperature),
            "throttle": self._value("throttle", lambda: throttle_words(self._clock_reasons())) or (),
            "processes": self._value("processes", lambda: self._processes(handle, now_ns)) or (),
        }
        return fields | self._slow_fields(now_ns)

    def _slow_fields(self, now_ns: int) -> dict[str, Any]:
        nvml, handle = self._nvml, self._handle
        if now_ns - self._slow_at >= _SLOW_NS:
            self._slow_at = now_ns
            before, self._unknown = self._unknown, {}
            self._slow = {
                "power_limit_w": self._value(
                    "power_limit_w", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
                ),
                "fan_ratio": self._value(
                    "fan_ratio", lambda: clamp(nvml.nvmlDeviceGetFanSpeed(handle) / 100)
                ),
                "encoder_ratio": self._extra(
                    lambda: clamp(nvml.nvmlDeviceGetEncoderUtilization(handle)[0] / 100)
                ),
                "decoder_ratio": self._extra(
                    lambda: clamp(nvml.nvmlDeviceGetDecoderUtilization(handle)[0] / 100)
                ),
                "energy_j": self._extra(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000),
                "slices": self._extra(lambda: self._slices(handle)) or (),
                "max_freq_hz": self._extra(
                    lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6
                ),
                "performance_state": self._extra(self._state),
                "memory_errors": self._extra(self._memory_errors),
                "pcie_in_bytes_s": self._extra(lambda: self._pcie(nvml.NVML_PCIE_UTIL_RX_BYTES)),
                "pcie_out_bytes_s": self._extra(lambda: self._pcie(nvml.NVML_PCIE_UTIL_TX_BYTES)),
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

    def _extra(self, call: Callable[[], Any]) -> Any:
        """A value that few cards have: whoever lacks it needs no reason."""
        if self.fault is not None:
            return None
        try:
            return call()
        except (self._nvml.NVMLError, AttributeError):
            return None

    def _slices(self, handle: Any) -> tuple[Slice, ...]:
        """The parts of a card that is divided (MIG): they know memory and processes, the card knows the rest."""
        nvml = self._nvml
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return ()
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
        found = (self._slice(handle, index) for index in range(count))
        return tuple(part for part in found if part is not None)

    def _slice(self, handle: Any, index: int) -> Slice | None:
        nvml = self._nvml
        part = self._extra(lambda: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
        if part is None:
            return None
        memory = self._extra(lambda: self._memory(part))
        return Slice(
            id=self._extra(lambda: _text(nvml.nvmlDeviceGetUUID(part))) or f"mig{index}",
            name=f"slice {index}",
            memory_used_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
            processes=self._extra(lambda: self._processes(part, None)) or (),
        )

    def _memory(self, handle: Any) -> Any:
        """Memory with the driver's own part left out of "used", where the driver can tell them apart."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        if version is not None:
            try:
                return self._nvml.nvmlDeviceGetMemoryInfo(handle, version)
            except self._nvml.NVMLError as error:
                if _code(error) not in (13, 25):
                    raise
        return self._nvml.nvmlDeviceGetMemoryInfo(handle)

    def _clock_reasons(self) -> int:
        newer = getattr(self._nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        if newer is not None:
            try:
                return int(newer(self._handle))
            except self._nvml.NVMLError as error:
                if _code(error) != 13:
                    raise
        return int(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))

    def _temperature(self) -> float:
        """By the call that stays; drivers before it, and bindings before it, know the other one only."""
        newer = getattr(self._nvml, "nvmlDeviceGetTemperatureV", None)
        if newer is not None:
            try:
                return float(newer(self._handle, self._nvml.NVML_TEMPERATURE_GPU))
            except self._nvml.NVMLError as error:
                if _code(error) not in (3, 13, 25):
                    raise
        return float(self._nvml.nvmlDeviceGetTemperature(self._handle, self._nvml.NVML_TEMPERATURE_GPU))

    def _state(self) -> str | None:
        number = int(self._nvml.nvmlDeviceGetPerformanceState(self._handle))
        return f"P{number}" if 0 <= number <= _LAST_STATE else None

    def _memory_errors(self) -> int:
        nvml = self._nvml
        kind, since = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        return int(nvml.nvmlDeviceGetTotalEccErrors(self._handle, kind, since))

    def _pcie(self, direction: int) -> float:
        return float(self._nvml.nvmlDeviceGetPcieThroughput(self._handle, direction)) * 1000

    def _running(self, handle: Any, kind: str) -> list[Any]:
        """Processes of one kind. The call without a version would fail in a way of its own beside older drivers."""
        refused: Exception = AttributeError(kind)
        for version in ("_v3", "_v2"):
            try:
                return list(getattr(self._nvml, f"nvmlDeviceGet{kind}RunningProcesses{version}")(handle))
            except AttributeError:
                continue
            except self._nvml.NVMLError as error:
                refused = error
                if _code(error) != 13:
                    break
        raise refused

    def _processes(self, handle: Any, now_ns: int | None) -> tuple[DeviceProcess, ...]:
        """Who holds memory; ``now_ns`` None leaves out how busy each of them is."""
        held: dict[int, int | None] = {}
        entries = self._running(handle, "Compute")
        for kind in ("Graphics", "MPSCompute"):
            entries += self._extra(partial(self._running, handle, kind)) or []
        for entry in entries:
            used = None if entry.usedGpuMemory is None else int(entry.usedGpuMemory)
            known = held.get(entry.pid)
            held[entry.pid] = used if known is None else max(known, used or 0)
        busy = self._shares(handle) if held and now_ns is not None else {}
        return tuple(
            DeviceProcess(pid=pid, memory_bytes=used, active_ratio=busy.get(pid))
            for pid, used in held.items()
        )

    def _shares(self, handle: Any) -> dict[int, float]:
        """Each process's share of the last second; where the driver took no sample, nobody is known to be busy."""
        since_us = time.time_ns() // 1000 - 1_000_000
        entries = self._extra(lambda: self._nvml.nvmlDeviceGetProcessUtilization(handle, since_us)) or ()
        return {int(entry.pid): min(1.0, int(entry.smUtil) / 100) for entry in entries if entry.smUtil <= 100}


def _code(error: Exception) -> int:
    return int(getattr(error, "value", 999))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
