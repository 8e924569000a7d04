"""A line of the accelerators pane in full: values with their origin, means and peaks, reasons, processes, tiers."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.client.mirror import Mirror
from nightdesk.core.sensors.alarms import desk_alarms
from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import LoadedModel, ModelServer
from nightdesk.model.process import ProcessRow
from nightdesk.model.sample import Cpu, CpuTier, Device, DeviceProcess, Sample
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.accelerators import AcceleratorsPane, fitted
from nightdesk.tui.panes.accelerators_chart import chart_of
from nightdesk.tui.panes.accelerators_facts import facts_of, lists_of, mean_and_peak
from nightdesk.tui.panes.accelerators_row import kinds_of, rows_of
from nightdesk.tui.screens.accelerator import AcceleratorScreen
from nightdesk.tui.widgets.grid import Grid
from tests.support.viewer import NOW, FakeEngine, replaced, screen_text, snapshot, until, viewer

NS = 10**9
GB = 10**9


def gpu(watts: float | None = 300.0, **more: Any) -> Device:
    given: dict[str, Any] = {
        "id": "g", "kind": "gpu", "name": "NVIDIA H100", "active_ratio": 0.9, "scaled_ratio": 0.4, "power_w": watts,
        "temperature_c": 71.0, "memory_used_bytes": 60 * GB, "memory_total_bytes": 80 * GB,
        "unknown": {"fan_ratio": "This card has no fan."}, "derived": ("power_w",),
    }  # fmt: skip
    return Device(**{**given, **more})


def sample(ago: int, *devices: Device, elapsed_ns: int = NS, **more: Any) -> Sample:
    return Sample(at_ns=NOW - ago * NS, elapsed_ns=elapsed_ns, source="nvml", devices=devices, **more)


def words_of(samples: tuple[Sample, ...], key: str = "g", **more: Any) -> dict[str, str]:
    desk = Mirror(replaced(snapshot(), samples=samples, **more))
    return {name: cell.plain for name, cell in facts_of(desk, key, NOW, UNICODE)[1]}


def test_each_value_says_what_it_is_and_what_it_was() -> None:
    words = words_of((sample(2, gpu(100.0)), sample(0, gpu(400.0), elapsed_ns=3 * NS)))
    # The mean is over the true lengths: (100 W for 1 s + 400 W for 3 s) / 4 s.
    assert words["power"] == "400 W   mean 325 W, peak 400 W   derived"
    assert words["active"].endswith("measured, share of time")
    assert words["capacity"].startswith("40 %") and words["capacity"].endswith("weighted by clock")
    assert words["memory"] == "60.0 GB of 80.0 GB, 75 %   peak 60.0 GB   measured"
    assert words["fan"] == "–  This card has no fan."


def test_what_no_sample_knows_has_no_mean_and_an_estimate_says_so() -> None:
    assert (
        mean_and_peak((sample(1, gpu(None)), sample(0, gpu(None))), lambda one: one.devices[0].power_w)
        is None
    )
    ane = Device(
        id="a", kind="ane", name="Neural Engine", active_ratio=0.2, power_w=1.6, estimated=("active_ratio",)
    )
    assert "estimate" in words_of((sample(0, ane),), "a")["active"]
    filled = sample(0, gpu(derived=()), origins={"devices.g.power_w": "macmon"})
    assert words_of((filled,))["power"].endswith("measured by macmon")


def test_slow_clocks_and_alarms_stand_first() -> None:
    hot = gpu(throttle=("hardware thermal slowdown",))
    words = words_of(tuple(sample(ago, hot) for ago in range(10, -1, -1)))
    assert words["slowed by"] == "⚠ hardware thermal slowdown"
    assert "throttled: hardware thermal slowdown" in words["alarm"] and "Look at its fans" in words["alarm"]


def test_an_alarm_says_which_of_several_cards_it_is() -> None:
    cards = (gpu(id="a"), gpu(id="b", throttle=("hardware thermal slowdown",)))
    found = desk_alarms(tuple(sample(ago, *cards) for ago in range(10, -1, -1)), NOW)
    assert [alarm.words for alarm in found] == ["GPU 1 throttled: hardware thermal slowdown"]


def test_processes_stand_by_their_memory_with_their_jobs() -> None:
    held = (
        DeviceProcess(pid=7, memory_bytes=GB),
        DeviceProcess(pid=4101, memory_bytes=40 * GB, active_ratio=0.5),
    )
    row = ProcessRow(key=ProcessKey(pid=4101, started_ns=NOW), ppid=1, name="python", command="python batch.py",
                     user="me", state="R", owner="run", job="transcribe")  # fmt: skip
    desk = Mirror(replaced(snapshot(), samples=(sample(0, gpu(processes=held)),), processes=(row,)))
    ((heading, lines),) = lists_of(desk, "g")
    assert heading == "2 processes with memory there"
    assert [" ".join(cell.plain.split()) for cell in lines] == [
        "4101 40.0 GB 50 % active python batch.py transcribe",
        "7 1.0 GB not seen from here",
    ]


def test_a_device_that_went_away_and_a_model_on_the_cpu_say_so() -> None:
    assert (
        "It is gone. The driver was unloaded."
        in words_of((sample(0, unknown={"devices": "The driver was unloaded."}),))[""]
    )
    model = LoadedModel(name="big:70b", size_bytes=40 * GB, vram_bytes=10 * GB, context=8192)
    server = ModelServer(address="127.0.0.1:11434", state="up", models=(model,), at_ns=NOW)
    words = words_of((sample(0, gpu()),), "model:big:70b", servers=(server,))
    assert "75 % of it lies outside of the accelerator" in words["on the CPU"]
    assert words["context"] == "8,192 tokens"


ULTRA = tuple(
    CpuTier(name=name, ratio=ratio, cores=cores, freq_hz=2e9)
    for name, ratio, cores in (
        ("E0-Cluster", 0.2, 4), ("P0-Cluster", 0.5, 6), ("P1-Cluster", 0.7, 6), ("E1-Cluster", 0.4, 4),
    )
)  # fmt: skip


def test_many_clusters_stand_by_kind_and_their_own_lines_by_the_systems_name() -> None:
    assert [(name, round(ratio or 0, 2)) for name, ratio in kinds_of(ULTRA)] == [("E", 0.3), ("P", 0.6)]
    samples = tuple(sample(ago, cpu=Cpu(ratio=0.5, tiers=ULTRA)) for ago in (1, 0))
    rows = {
        row.key: [cell.plain.strip() for cell in row.cells]
        for row in rows_of(samples, UNICODE, with_tiers=True)
    }
    assert rows["tier:P"][0:2] == ["P", "60 %"] and rows["tier:P"][-1] == "12 cores in 2 clusters"
    named = (
        CpuTier(name="P0-Cluster", kind="Performance", ratio=0.5, cores=6),
        CpuTier(name="S-Cluster", kind="Super", ratio=0.1, cores=6),
    )
    rows = {row.key: [cell.plain.strip() for cell in row.cells]
            for row in rows_of((sample(0, cpu=Cpu(tiers=named)),), UNICODE, with_tiers=True)}  # fmt: skip
    assert rows["tier:Super"][0] == "S" and rows["tier:Super"][-1].startswith("Super")
    assert words_of(samples, "tier:E")["E1-Cluster"] == "4 cores   40 % busy   2000 MHz"


@pytest.mark.parametrize(
    ("key", "pair", "labels"),
    [
        ("g", 0, ["GPU active", "GPU power"]),
        ("g", 1, ["GPU memory", "GPU heat"]),
        ("g", 2, ["GPU capacity"]),
        ("g", 3, ["GPU active", "GPU power"]),
        ("a", 0, ["ANE power", "ANE estimate"]),
        ("cpu", 0, ["CPU", "memory"]),
        ("cpu", 1, ["CPU power"]),
        ("tier:E", 0, ["E cores busy", "E cores clock"]),
        ("model:x", 0, ["GPU active", "GPU power"]),
    ],
)
def test_the_chart_draws_two_values_of_the_line_at_a_time(key: str, pair: int, labels: list[str]) -> None:
    ane = Device(id="a", kind="ane", name="ANE", active_ratio=0.2, power_w=1.6, estimated=("active_ratio",))
    cpu = Cpu(ratio=0.5, power_w=9.0, tiers=ULTRA)
    one = sample(0, gpu(), ane, cpu=cpu, memory_used_bytes=GB, memory_total_bytes=2 * GB)
    assert [series.label for series in chart_of((one,), key, pair).series] == labels


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_enter_opens_a_line_that_follows_the_newest_sample(
    engine: FakeEngine, size: tuple[int, int]
) -> None:
    engine.first = replaced(snapshot(), samples=tuple(sample(ago, gpu()) for ago in (2, 1, 0)))
    app = viewer(engine, mode="accelerators")
    async with app.run_test(size=size) as pilot:
        await until(
            pilot,
            lambda: app.link.drawn and bool(app.screen.query_one(AcceleratorsPane).query_one(Grid).rows),
        )
        app.screen.query_one(AcceleratorsPane).query_one(Grid).focus()
        await pilot.press("enter")
        await until(
            pilot,
            lambda: isinstance(app.screen, AcceleratorScreen) and "This card has no fan." in screen_text(app),
        )
        assert "mean 300 W, peak 300 W" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk_screen)


def test_a_detail_that_does_not_fit_ends_between_words_and_says_where_the_rest_is() -> None:
    words = "The driver library was not found. " * 9
    cut = fitted(words, 76, 3)
    assert cut.endswith(" … (enter: all)") and len(cut) <= 3 * 68 and not cut.startswith(words)
    assert fitted("short", 76, 1) == "short"
    why = words_of(
        (sample(0, cpu=Cpu(ratio=0.1), unknown={"devices": "No GPU was found. No driver."}),), "cpu"
    )
    assert why["GPU"] == "–  No GPU was found. No driver."
