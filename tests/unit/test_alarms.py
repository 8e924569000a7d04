"""Alarms: what holds long enough is told, what is normal is not."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.core.sensors.alarms import alarms, cpu_share, desk_alarms, generating_since
from nightdesk.model.desk import LoadedModel, ModelServer
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.sample import Cpu, Device, Sample

NS = 10**9
GB = 10**9


def night(seconds: int = 60, **words: Any) -> list[Sample]:
    """A minute of equal samples, one a second; ``device`` words go to the GPU."""
    device: dict[str, Any] = {"active_ratio": 0.8, "memory_used_bytes": 8 * GB, "memory_total_bytes": 24 * GB}
    device |= words.pop("device", {})
    gpu = Device(id="g", kind="gpu", name="RTX", **device)
    fields: dict[str, Any] = {"devices": (gpu,), **words}
    return [Sample(at_ns=at * NS, elapsed_ns=NS, source="t", **fields) for at in range(1, seconds + 1)]


def kinds(samples: list[Sample], now_s: float = 60.5, **words: Any) -> list[str]:
    return [alarm.kind for alarm in alarms(samples, int(now_s * NS), **words)]


def test_a_busy_card_is_no_alarm() -> None:
    assert kinds(night(), generating_since_ns=0) == []


def test_an_idle_gpu_alarms_only_while_a_reply_is_written_for_half_a_minute() -> None:
    idle = night(device={"active_ratio": 0.01})
    assert kinds(idle, generating_since_ns=10 * NS) == ["gpu_idle"]
    assert kinds(idle, generating_since_ns=40 * NS) == []
    assert kinds(idle) == []
    idle[45] = night()[45]
    assert kinds(idle, generating_since_ns=10 * NS) == []


def test_an_unknown_activity_is_not_an_idle_gpu() -> None:
    assert kinds(night(device={"active_ratio": None}), generating_since_ns=0) == []


def test_heat_is_told_by_the_systems_word_and_the_cards_reason() -> None:
    assert kinds(night(thermal="Nominal")) == []
    (alarm,) = alarms(night(thermal="Heavy"), 60 * NS)
    assert (alarm.kind, alarm.words) == ("thermal", "thermal pressure Heavy")
    assert kinds(night(device={"throttle": ("power cap",)})) == []
    (alarm,) = alarms(night(device={"throttle": ("hardware thermal slowdown", "power cap")}), 60 * NS)
    assert alarm.words == "RTX throttled: hardware thermal slowdown"
    assert alarm.device == "g"


def test_memory_that_is_nearly_full_for_a_while_alarms_but_not_twice_where_it_is_shared() -> None:
    full = {"memory_used_bytes": 23.5 * GB, "memory_total_bytes": 24 * GB}
    full = {key: int(value) for key, value in full.items()}
    assert kinds(night(device=full)) == ["memory_full"]
    assert kinds(night(5, device=full), now_s=5.0) == []
    assert kinds(night(device={**full, "shares_memory": True})) == []
    assert kinds(night(memory_used_bytes=63 * GB, memory_total_bytes=64 * GB)) == ["memory_full"]


def test_silence_of_the_sensors_is_an_alarm_and_hides_what_is_old() -> None:
    assert kinds(night(thermal="Heavy"), now_s=90) == ["sensor_gone"]
    assert kinds([], now_s=90) == []


def test_a_device_that_went_away_is_named() -> None:
    samples = [*night(20), *(night(60, devices=())[20:])]
    (alarm,) = alarms(samples, 60 * NS)
    assert (alarm.kind, alarm.words) == ("sensor_gone", "RTX is gone")


@pytest.mark.parametrize(
    ("watts", "ratio", "found"), [(0.0, 0.9, True), (0.0, 0.05, False), (8.0, 0.9, False)]
)
def test_power_near_zero_beside_busy_cores_is_a_hidden_counter(
    watts: float, ratio: float, found: bool
) -> None:
    assert kinds(night(cpu=Cpu(ratio=ratio, power_w=watts))) == ["power_hidden"] * found


def server(size: int | None, vram: int | None) -> ModelServer:
    model = LoadedModel(name="qwen", size_bytes=size, vram_bytes=vram)
    return ModelServer(address="127.0.0.1:11434", state="up", models=(model,), at_ns=NS)


def test_a_model_outside_of_the_accelerators_memory_is_named_with_its_part() -> None:
    (alarm,) = alarms(night(), 60 * NS, servers=[server(20 * GB, 12 * GB)])
    assert (alarm.kind, alarm.words) == ("model_on_cpu", "qwen is 40% on the CPU")
    (alarm,) = alarms([], 60 * NS, servers=[server(20 * GB, 0)])
    assert alarm.words == "qwen is on the CPU"
    assert kinds(night(), servers=[server(20 * GB, 20 * GB), server(None, None)]) == []
    assert cpu_share(LoadedModel(name="m", size_bytes=4, vram_bytes=5)) == 0.0


def row(number: int, first_s: float | None, end_s: float | None) -> ExchangeRow:
    return ExchangeRow(
        id=number,
        state="complete" if end_s else "running",
        started_ns=0,
        first_token_ns=None if first_s is None else int(first_s * NS),
        ended_ns=None if end_s is None else int(end_s * NS),
        operation="chat",
        dialect="ollama",
        fragments=1,
        tail="",
    )


def test_replies_that_follow_each_other_closely_count_as_one_stretch() -> None:
    rows = [row(1, 1, 20), row(2, 21, 40), row(3, 41, None)]
    assert generating_since(rows, 60 * NS) == 1 * NS
    assert generating_since([row(1, 1, 20), row(2, 30, None)], 60 * NS) == 30 * NS
    assert generating_since([row(1, 1, 20)], 60 * NS) is None
    assert generating_since([row(1, None, None)], 60 * NS) is None


def test_old_samples_say_nothing_about_now() -> None:
    found = desk_alarms(night(60, thermal="Heavy")[:10], 1000 * NS)
    assert [alarm.kind for alarm in found] == ["sensor_gone"]
