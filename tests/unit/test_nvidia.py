"""NVIDIA's words, errors and reports, and the NVML source with a stand-in for the binding (no card is needed)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightdesk.core.sensors.nvidia import nvml_fault, throttle_words
from nightdesk.core.sensors.nvidia_smi import smi_sample
from nightdesk.engine.sensors.nvml import NvmlSource
from nightdesk.model.sample import DeviceProcess

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "accelerators" / "nvidia_smi_xml"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings are not beside the repository"
)
S = 1_000_000_000
MIB = 1024 * 1024


def test_only_reasons_that_hold_a_card_back_are_words() -> None:
    assert throttle_words(0x1 | 0x2 | 0x10 | 0x100) == ()
    assert throttle_words(0x4 | 0x40) == ("power cap", "hardware thermal slowdown")


@pytest.mark.parametrize(
    ("code", "scope", "rare"),
    [
        (3, "metric", False),
        (12, "driver", True),
        (15, "device", False),
        (1, "driver", False),
        (999, "metric", False),
    ],
)
def test_errors_reach_as_far_as_they_should(code: int, scope: str, rare: bool) -> None:
    fault = nvml_fault(code)
    assert (fault.scope, fault.rare) == (scope, rare)
    assert str(fault).endswith((".", "nvidia", "reset", "GPU."))


# Reports of nvidia-smi -q -x


@needs_recordings
def test_a_recorded_report_of_a_busy_card_is_read() -> None:
    sample = smi_sample((RECORDINGS / "rtx-3080-v13.xml").read_bytes(), 5)
    assert sample is not None
    (card,) = sample.devices
    assert (sample.at_ns, card.name) == (5, "NVIDIA GeForce RTX 3080")
    assert card.active_ratio == pytest.approx(0.65)
    assert (card.memory_used_bytes, card.memory_total_bytes) == (9184 * MIB, 10240 * MIB)
    assert (card.power_w, card.power_limit_w) == (142.33, 320.0)
    assert (card.freq_hz, card.temperature_c) == (1950e6, 27.0)
    assert card.throttle == ()


@needs_recordings
def test_a_recorded_report_of_a_divided_card_says_what_it_does_not_know() -> None:
    sample = smi_sample((RECORDINGS / "a100-sxm4-v12.xml").read_bytes(), 5)
    assert sample is not None
    card = sample.devices[0]
    assert card.active_ratio is None
    assert "active_ratio" in card.unknown
    assert card.power_w is not None


@needs_recordings
def test_a_recorded_report_in_the_old_wording_is_read() -> None:
    sample = smi_sample((RECORDINGS / "tesla-t4.xml").read_bytes(), 5)
    assert sample is not None
    card = sample.devices[0]
    assert card.name == "Tesla T4"
    assert card.power_w == 26.78 or card.power_w == pytest.approx(26.8, abs=0.1)
    assert card.fan_ratio is None


def test_reports_with_entities_or_of_another_kind_are_refused() -> None:
    assert smi_sample(b'<!DOCTYPE x [<!ENTITY a "b">]><nvidia_smi_log>&a;</nvidia_smi_log>', 1) is None
    assert smi_sample(b"<html/>", 1) is None
    assert smi_sample(b"<nvidia_smi_log", 1) is None


def test_a_throttled_card_says_why_in_words() -> None:
    for word in ("event", "throttle"):
        section = f"clocks_{word}_reasons"
        xml = f"<{section}><clocks_{word}_reason_sw_power_cap>Active</clocks_{word}_reason_sw_power_cap></{section}>"
        sample = smi_sample(f"<nvidia_smi_log><gpu>{xml}</gpu></nvidia_smi_log>".encode(), 1)
        assert sample is not None
        assert sample.devices[0].throttle == ("power cap",)


# The NVML source


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        self.value = value


class FakeNvml:
    """Stands in for the module ``pynvml``: one or more cards, and errors by the name of the call."""

    NVMLError = FakeError
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0
    nvmlMemory_v2 = 2  # noqa: N815 - the binding's own name

    def __init__(self, cards: int = 1, **errors: int) -> None:
        self.cards = cards
        self.errors = errors
        self.calls: list[str] = []
        self.lost: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": self.cards,
            "nvmlDeviceGetUUID": lambda card: f"GPU-{card}",
            "nvmlDeviceGetName": b"NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetHandleByIndex": lambda card: card,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87, memory=40),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=20 * MIB, total=80 * MIB),
            "nvmlDeviceGetPowerUsage": 310_500,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetFanSpeed": 30,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x1,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x20,
            "nvmlDeviceGetComputeRunningProcesses_v3": [
                SimpleNamespace(pid=10, usedGpuMemory=5 * MIB),
                SimpleNamespace(pid=11, usedGpuMemory=None),
            ],
            "nvmlDeviceGetGraphicsRunningProcesses_v3": [SimpleNamespace(pid=10, usedGpuMemory=6 * MIB)],
        }
        if name not in answers:
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if arguments and arguments[0] in self.lost:
                raise FakeError(15)
            if name in self.errors:
                raise FakeError(self.errors[name])
            answer = answers[name]
            return answer(*arguments) if callable(answer) else answer

        return call


def test_the_values_of_a_card_come_in_base_units() -> None:
    source = NvmlSource(lambda: FakeNvml())
    reading = source.read(0)
    (card,) = reading.devices
    assert reading.problem is None
    assert (card.id, card.name) == ("GPU-0", "NVIDIA H100 80GB HBM3")
    assert (card.active_ratio, card.power_w, card.power_limit_w) == (0.87, 310.5, 700.0)
    assert (card.memory_used_bytes, card.memory_total_bytes) == (20 * MIB, 80 * MIB)
    assert (card.freq_hz, card.temperature_c, card.fan_ratio) == (1980e6, 61.0, 0.3)
    assert card.throttle == ("power cap",)
    assert card.processes == (DeviceProcess(pid=10, memory_bytes=6 * MIB), DeviceProcess(pid=11))
    assert card.unknown == {}


def test_an_error_in_one_value_blanks_that_value_only() -> None:
    fake = FakeNvml(nvmlDeviceGetFanSpeed=3, nvmlDeviceGetUtilizationRates=999, nvmlDeviceGetMemoryInfo=3)
    (card,) = NvmlSource(lambda: fake).read(0).devices
    assert card.active_ratio is card.memory_used_bytes is card.fan_ratio is None
    assert card.power_w == 310.5
    assert set(card.unknown) == {"active_ratio", "memory_used_bytes", "memory_total_bytes", "fan_ratio"}
    assert card.unknown["fan_ratio"] == "This card does not report it."


def test_older_drivers_are_asked_in_the_older_way() -> None:
    fake = FakeNvml(nvmlDeviceGetCurrentClocksEventReasons=13)
    (card,) = NvmlSource(lambda: fake).read(0).devices
    assert card.throttle == ("software thermal slowdown",)


def test_values_that_change_slowly_are_asked_for_every_five_seconds() -> None:
    fake = FakeNvml()
    source = NvmlSource(lambda: fake)
    for second in range(11):
        assert source.read(second * S).devices[0].fan_ratio == 0.3
    assert fake.calls.count("nvmlDeviceGetFanSpeed") == 3
    assert fake.calls.count("nvmlInit") == 1


def test_a_lost_card_leaves_the_others_alone_and_is_looked_for_with_growing_pauses() -> None:
    fake = FakeNvml(cards=2)
    source = NvmlSource(lambda: fake)
    source.read(0)
    fake.lost = {1}
    for second in range(1, 31):
        healthy, lost = source.read(second * S).devices
        assert healthy.active_ratio == 0.87
        assert "lost" in lost.unknown["active_ratio"]
    assert 3 <= fake.calls.count("nvmlInit") <= 6
    fake.lost = set()
    later = [source.read(second * S) for second in range(31, 100)]
    assert all(card.active_ratio == 0.87 for card in later[-1].devices)


def test_a_lost_driver_is_a_failure_and_comes_back() -> None:
    fake = FakeNvml()
    source = NvmlSource(lambda: fake)
    source.read(0)
    fake.lost = {0}
    reading = source.read(S)
    assert reading.broken
    assert "lost" in str(reading.problem)
    fake.lost = set()
    assert any(source.read(second * S).problem is None for second in range(2, 20))


def test_a_machine_without_the_driver_is_asked_rarely() -> None:
    fake = FakeNvml(nvmlInit=12)
    source = NvmlSource(lambda: fake)
    readings = [source.read(second * S) for second in range(600)]
    assert fake.calls.count("nvmlInit") == 2
    assert not readings[-1].broken
    assert "libnvidia-ml" in str(readings[-1].problem)
    source.close()
    assert "nvmlShutdown" not in fake.calls


def test_a_missing_binding_names_the_package() -> None:
    def missing() -> Any:
        raise ImportError("pynvml")

    reading = NvmlSource(missing).read(0)
    assert "nightdesk[nvidia]" in str(reading.problem)


def test_the_real_binding_without_a_driver_says_that_the_library_is_missing() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value != 12:
            pytest.skip(f"NVML answers with error {error.value} here")
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has an NVIDIA driver")
    reading = NvmlSource().read(0)
    assert reading.devices == ()
    assert "libnvidia-ml" in str(reading.problem)


class DividedNvml(FakeNvml):
    """A card that is divided: its slices answer by handles of their own, and it does not tell its activity."""

    def __getattr__(self, name: str) -> Any:
        if name == "nvmlDeviceGetMigMode":
            return lambda card: (1, 1)
        if name == "nvmlDeviceGetMaxMigDeviceCount":
            return lambda card: 7
        if name == "nvmlDeviceGetMigDeviceHandleByIndex":
            return self._slice
        if name == "nvmlDeviceGetProcessUtilization":
            return lambda card, since: [
                SimpleNamespace(pid=10, smUtil=63),
                SimpleNamespace(pid=11, smUtil=255),
            ]
        if name == "nvmlDeviceGetTotalEnergyConsumption":
            return lambda card: 5_000_000
        return super().__getattr__(name)

    def _slice(self, card: Any, index: int) -> Any:
        if index > 1:
            raise FakeError(6)
        return f"{card}-slice{index}"


def test_a_divided_card_shows_its_slices_and_what_each_process_does() -> None:
    (card,) = NvmlSource(lambda: DividedNvml(nvmlDeviceGetUtilizationRates=3)).read(0).devices
    assert [part.id for part in card.slices] == ["GPU-0-slice0", "GPU-0-slice1"]
    assert card.slices[0].memory_total_bytes == 80 * MIB
    assert [one.pid for one in card.slices[0].processes] == [10, 11]
    assert card.active_ratio is None
    assert {one.pid: one.active_ratio for one in card.processes} == {10: 0.63, 11: None}
    assert card.energy_j == 5000


def test_a_card_that_works_in_the_machines_memory_says_so() -> None:
    (card,) = NvmlSource(lambda: FakeNvml(nvmlDeviceGetMemoryInfo=3)).read(0).devices
    assert card.shares_memory
    assert "machine's memory" in card.unknown["memory_used_bytes"]
