"""The accelerators pane: units, estimates, unknown values, age, the chart, machines without any device."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nightdesk.core.foreign import safe
from nightdesk.model.desk import SampleAdded, SourceState
from nightdesk.model.sample import Cpu, CpuTier, Device, DeviceProcess, Sample
from nightdesk.tui.glyphs import ASCII, UNICODE
from nightdesk.tui.panes.accelerators import AcceleratorsPane, select
from nightdesk.tui.panes.accelerators_row import detail_of, rows_of
from nightdesk.tui.widgets.chart import Chart
from nightdesk.tui.widgets.grid import Grid, Row
from tests.support.viewer import (
    NOW,
    FakeEngine,
    mirror,
    replaced,
    screen_text,
    snapshot,
    until,
    viewer,
)

NS = 10**9
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J[/] [@click=app.quit]x[/] \u202eabc\u202c \x9b31m"

GPU = Device(
    id="gpu",
    kind="gpu",
    name="Apple M3 Max",
    active_ratio=0.82,
    scaled_ratio=0.4,
    power_w=31.2,
    freq_hz=1398e6,
    unknown={"temperature_c": "powermetrics does not report it."},
)
ANE = Device(
    id="ane",
    kind="ane",
    name="Apple Neural Engine",
    active_ratio=0.26,
    power_w=2.1,
    estimated=("active_ratio",),
)
H100 = Device(
    id="GPU-1",
    kind="gpu",
    name="NVIDIA H100",
    active_ratio=0.97,
    memory_used_bytes=61_200_000_000,
    memory_total_bytes=85_500_000_000,
    power_w=421.0,
    power_limit_w=700.0,
    freq_hz=1980e6,
    temperature_c=64.0,
    throttle=("power cap",),
    processes=(DeviceProcess(pid=3310, memory_bytes=61_000_000_000),),
)


def sample(ago: int = 0, *devices: Device, **more: Any) -> Sample:
    given: dict[str, Any] = {
        "at_ns": NOW - ago * NS,
        "elapsed_ns": NS,
        "source": "powermetrics",
        "cpu": Cpu(
            ratio=0.41,
            power_w=12.0,
            tiers=(CpuTier(name="E", ratio=0.8, cores=4), CpuTier(name="P", ratio=0.3, cores=8)),
        ),
        "devices": devices,
        "thermal": "Nominal",
        "memory_used_bytes": 41_200_000_000,
        "memory_total_bytes": 64_000_000_000,
        **more,
    }
    return Sample(**given)


def night(*devices: Device, **more: Any) -> tuple[Sample, ...]:
    """Ten minutes of samples."""
    every = [sample(0, *devices, **more)]
    for ago in range(1, 600):
        waves = (replaced(device, active_ratio=abs(math.sin(ago / 60))) for device in devices)
        every.append(sample(ago, *waves, **more))
    return tuple(reversed(every))


def words(row: Row) -> str:
    return " ".join(" ".join(cell.plain for cell in row.cells).split())


def test_a_gpu_line_has_activity_power_clock_and_an_unknown_temperature_as_a_dash() -> None:
    row = rows_of((sample(0, GPU),), UNICODE)[0]
    assert words(row).startswith("GPU 82 %")
    assert "31.2 W 1398 MHz – Apple M3 Max" in words(row)


def test_the_neural_engine_shows_watts_and_marks_its_percentage_as_an_estimate() -> None:
    row = rows_of((sample(0, ANE),), UNICODE)[0]
    active = row.cells[1].plain
    assert active == ""
    assert words(row).endswith("2.1 W (estimate 26 %)")


def test_processor_and_memory_stand_below_the_devices() -> None:
    rows = rows_of((sample(0, GPU, swap_used_bytes=2_000_000_000),), UNICODE)
    assert [row.key for row in rows] == ["gpu", "cpu", "memory"]
    assert words(rows[1]).startswith("CPU 41 %")
    assert "12.0 W ● Nominal E 80% P 30%" in words(rows[1])
    assert "41.2 / 64.0 GB swap 2.0 GB" in words(rows[2])


def test_a_thermal_word_that_is_not_calm_warns_by_sign_and_word() -> None:
    rows = rows_of((sample(0, thermal="Heavy"),), UNICODE)
    assert "⚠ Heavy" in words(rows[0])


def test_several_gpus_are_numbered_and_tell_what_holds_them_back() -> None:
    rows = rows_of((sample(0, H100, replaced(H100, id="GPU-2", throttle=())),), UNICODE)
    assert words(rows[0]).startswith("GPU 0 97 %")
    assert "⚠ power cap" in words(rows[0]) and "61.2 / 85.5 GB" in words(rows[0])
    assert words(rows[1]).startswith("GPU 1")


def test_unknown_values_are_never_zero() -> None:
    bare = Device(id="g", kind="gpu", name="card")
    rows = rows_of((sample(0, bare, cpu=None, thermal=None, memory_used_bytes=None),), UNICODE)
    assert "0" not in "".join(words(row) for row in rows)
    assert words(rows[0]).count("–") == 4


def test_the_detail_of_a_card_tells_its_state_its_bus_and_memory_that_fails() -> None:
    card = Device(
        id="g",
        kind="gpu",
        name="T4",
        performance_state="P2",
        max_freq_hz=1590e6,
        pcie_in_bytes_s=4e6,
        memory_errors=3,
    )
    said = detail_of(sample(0, card), "g")
    assert "State P2. Clock at most 1590 MHz. Bus 4.0 MB/s in. 3 memory errors" in said


def test_the_detail_of_a_line_gives_reasons_and_owners() -> None:
    said = detail_of(sample(0, H100), "GPU-1")
    assert said == "NVIDIA H100. Slowed by power cap. Limit 700 W. Process 3310 holds 61.0 GB"
    assert "40 % of its capacity, weighted by clock" in detail_of(sample(0, GPU), "gpu")
    assert "temperature –: powermetrics does not report it" in detail_of(sample(0, GPU), "gpu")
    hidden = sample(0, unknown={"cpu.power_w": "Hidden from ordinary users."})
    assert detail_of(hidden, "cpu") == "CPU power –: Hidden from ordinary users"


def test_without_a_device_one_sentence_says_why_and_the_chart_shows_processor_and_memory() -> None:
    samples = night(unknown={"devices": "No NVIDIA driver was found."}, source="host")
    view = select(mirror(samples=samples), NOW, UNICODE)
    assert view.no_device == "No NVIDIA driver was found."
    long = night(unknown={"devices": "No GPU was found. The driver is missing. Install it."}, source="host")
    view = select(mirror(samples=long), NOW, UNICODE)
    assert view.no_device == "No GPU was found. nightdesk doctor has the details."
    assert view.detail.startswith("No GPU was found. The driver is missing. Install it")
    assert view.chart is not None
    assert [series.label for series in view.chart.series] == ["CPU", "memory"]


def test_the_chart_shows_the_gpu_under_the_cursor() -> None:
    other = replaced(H100, id="GPU-2")
    view = select(mirror(samples=night(H100, other)), NOW, UNICODE, "GPU-2")
    assert view.chart is not None
    assert [series.label for series in view.chart.series] == ["GPU 1 active", "GPU 1 power"]
    assert view.chart.series[1].top == 500


def test_a_gpu_that_tells_only_its_memory_gets_a_chart_of_that() -> None:
    bare = Device(id="g", kind="gpu", name="card", memory_used_bytes=1, memory_total_bytes=2)
    view = select(mirror(samples=(sample(1, bare), sample(0, bare))), NOW, UNICODE)
    assert view.chart is not None
    assert [series.label for series in view.chart.series] == ["GPU memory"]


def test_overdue_samples_make_the_view_stale() -> None:
    desk = mirror(samples=(sample(0, GPU),))
    assert not select(desk, NOW + 2 * NS, UNICODE).stale
    late = select(desk, NOW + 10 * NS, UNICODE)
    assert late.stale and late.age_ns == 10 * NS


def test_ascii_lines_hold_ascii_only_but_for_the_dash() -> None:
    rows = rows_of(night(GPU, ANE), ASCII)
    assert "".join(words(row) for row in rows).replace("–", "").isascii()


async def test_the_pane_shows_devices_source_age_and_chart(engine: FakeEngine) -> None:
    engine.first = snapshot(samples=night(GPU, ANE))
    app = viewer(engine, clock=lambda: NOW + 2 * NS)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "last 10 min" in screen_text(app))
        text = screen_text(app)
        assert "powermetrics · 2.0s ago" in text
        assert "(estimate 26 %)" in text and "100 %" in text and "10m" in text


async def test_the_detail_line_follows_the_cursor(engine: FakeEngine) -> None:
    engine.first = snapshot(samples=night(GPU, ANE))
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2")
        await until(pilot, lambda: "temperature –" in screen_text(app))
        await pilot.press("j")
        await until(pilot, lambda: "has no counter" in screen_text(app))


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
async def test_no_size_breaks_the_pane(engine: FakeEngine, size: tuple[int, int]) -> None:
    engine.first = snapshot(samples=night(*(replaced(H100, id=f"GPU-{n}") for n in range(8))))
    app = viewer(engine, mode="machine")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2")
        await until(pilot, lambda: "GPU 0" in screen_text(app))
        await pilot.press("z", "G")
        await until(pilot, lambda: "mem" in screen_text(app))


async def test_the_chart_is_not_drawn_more_often_than_every_two_seconds(engine: FakeEngine) -> None:
    engine.first = snapshot(samples=night(GPU))
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "last 10 min" in screen_text(app))
        chart, pane = app.desk_screen.query_one(Chart), app.desk_screen.query_one(AcceleratorsPane)
        before = list(chart._lines)
        assert pane.view is not None and pane.view.chart is not None
        one = pane.view.chart._replace(end_ns=NOW + NS)
        chart.show(one)
        assert chart._lines == before
        chart.show(one._replace(end_ns=NOW + 90 * NS))
        assert chart._lines != before


async def test_sensors_that_are_off_or_failed_say_what_to_do(engine: FakeEngine) -> None:
    off = SourceState(name="sensors", state="off", at_ns=NOW)
    engine.first = snapshot(sources=(off,))
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "The sensors are off." in screen_text(app))
        failed = replaced(off, state="failed", message="powermetrics needs root: see sudoers.d.example")
        engine.first = snapshot(sources=(failed,))
        engine.more.put_nowait(engine.first)
        await until(pilot, lambda: "powermetrics needs root" in screen_text(app))
        engine.more.put_nowait(SampleAdded(sample=sample(0, GPU)))
        await until(pilot, lambda: "1398 MHz" in screen_text(app))


async def test_hostile_names_and_reasons_stay_harmless(engine: FakeEngine) -> None:
    bad = replaced(GPU, name=HOSTILE, throttle=(HOSTILE,), unknown={HOSTILE: HOSTILE})
    engine.first = snapshot(samples=night(bad, thermal=HOSTILE, source=HOSTILE, unknown={"cpu": HOSTILE}))
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2", "z")
        await until(pilot, lambda: "app.quit" in screen_text(app))
        grid = app.desk_screen.query_one(AcceleratorsPane).query_one(Grid)
        for y in range(grid.size.height):
            text = grid.render_line(y).text
            assert safe(text) == text
        assert "\x1b" not in app.export_screenshot()
