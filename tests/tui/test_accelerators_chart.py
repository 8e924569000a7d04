"""The accelerators pane beyond its table: alarms, models, energy, the chart's reach and marks; four machines."""

from __future__ import annotations

import math

import pytest

from nightdesk.model.desk import LoadedModel, ModelServer
from nightdesk.model.energy import Bill, DeskEnergy, Energy, EnergyReport, RunEnergy
from nightdesk.model.sample import Cpu, CpuTier, Device, Fan, Sample
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.accelerators_history import REACHES, ChartChoice, busy_spans, energy_words, joined
from nightdesk.tui.panes.accelerators_row import kinds_of, model_rows
from nightdesk.tui.widgets.chart import ChartView, Mark, Series, column_of, legend_of, marks_of, values_at
from tests.support.viewer import NOW, FakeEngine, replaced, screen_text, snapshot, until, viewer

NS = 10**9
GB = 10**9
MAC = (
    Device(
        id="gpu",
        kind="gpu",
        name="Apple M4 Max GPU",
        active_ratio=0.8,
        power_w=31.0,
        freq_hz=1398e6,
        shares_memory=True,
        memory_used_bytes=21 * GB,
        memory_total_bytes=64 * GB,
    ),
    Device(
        id="ane", kind="ane", name="Neural Engine", active_ratio=0.2, power_w=2.0, estimated=("active_ratio",)
    ),
)
NVIDIA = (
    Device(
        id="a",
        kind="gpu",
        name="NVIDIA H100",
        active_ratio=0.9,
        power_w=600.0,
        temperature_c=88.0,
        memory_used_bytes=61 * GB,
        memory_total_bytes=85 * GB,
        throttle=("software thermal slowdown",),
    ),
)
AMD = (Device(id="c", kind="gpu", name="Radeon RX 7900", active_ratio=0.5, power_w=200.0, fan_rpm=900.0),)
MACHINES = {"mac": MAC, "nvidia": NVIDIA, "amd": AMD, "none": ()}
WORDS = {"mac": "estimate", "nvidia": "thermal slowdown", "amd": "200 W", "none": "No GPU was found."}


def night(
    devices: tuple[Device, ...], seconds: int = 600, step: int = 1, end_ns: int = NOW
) -> tuple[Sample, ...]:
    unknown = {} if devices else {"devices": "No GPU was found. Nothing more."}
    return tuple(
        Sample(
            at_ns=end_ns - ago * step * NS,
            elapsed_ns=NS,
            source="t",
            cpu=Cpu(
                ratio=abs(math.sin(ago / 50)),
                tiers=(CpuTier(name="E", kind="Efficiency", ratio=0.5, cores=4),),
            ),
            devices=devices,
            memory_used_bytes=40 * GB,
            memory_total_bytes=64 * GB,
            unknown=unknown,
        )
        for ago in range(seconds, -1, -1)
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 48)])
@pytest.mark.parametrize("machine", list(MACHINES))
async def test_each_kind_of_machine_shows_what_it_has_at_each_size(
    engine: FakeEngine, machine: str, size: tuple[int, int]
) -> None:
    engine.first = snapshot(samples=night(MACHINES[machine]))
    app = viewer(engine, mode="machine")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2", "z")
        await until(pilot, lambda: WORDS[machine] in screen_text(app) and "last 10 min" in screen_text(app))


async def test_plus_and_minus_change_the_reach_and_older_samples_come_from_the_engine(
    engine: FakeEngine,
) -> None:
    engine.first = snapshot(samples=night(MAC))
    engine.history = night(MAC, 300, 10, NOW - 700 * NS)
    app = viewer(engine, mode="machine")
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2", "z", "minus")
        await until(pilot, lambda: "last 60 min" in screen_text(app) and "48m" in screen_text(app))
        asked = next(one for one in engine.asked if one[0] == "samples")
        assert (asked[2] - asked[1], asked[3]) == (3600 * NS, 10)
        await pilot.press("minus")
        await until(pilot, lambda: "last 12 h" in screen_text(app) and "12h" in screen_text(app))
        await pilot.press("plus", "plus")
        await until(pilot, lambda: "last 10 min" in screen_text(app))


async def test_over_an_hour_the_chart_shows_means_with_their_least_and_greatest_value(
    engine: FakeEngine,
) -> None:
    engine.first = snapshot(samples=night(MAC, 60))
    spread = {"devices.gpu.active_ratio": (0.05, 1.0), "devices.gpu.power_w": (4.0, 96.0)}
    engine.history = tuple(replaced(one, spread=spread) for one in night(MAC, 300, 10, NOW - 100 * NS))
    app = viewer(engine, mode="machine")
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2", "z", "minus")
        await until(
            pilot, lambda: "mean between least and most" in screen_text(app) and "200 W" in screen_text(app)
        )
        await pilot.press(*["left"] * 12)
        await until(pilot, lambda: "GPU active 80 % (5 to 100)" in screen_text(app))
        assert "31 W (4 to 96)" in screen_text(app)


async def test_the_arrows_tell_the_values_of_a_moment_and_escape_goes_back(engine: FakeEngine) -> None:
    engine.first = snapshot(samples=night(NVIDIA))
    app = viewer(engine, mode="machine")
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2", "z")
        await until(pilot, lambda: "last 10 min" in screen_text(app))
        await pilot.press("left", "left", "right")
        await until(pilot, lambda: "GPU active 90 %" in screen_text(app) and "600 W" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "last 10 min" in screen_text(app))


async def test_an_alarm_stands_in_pane_and_header_with_its_advice(engine: FakeEngine) -> None:
    engine.first = snapshot(samples=night(NVIDIA))
    app = viewer(engine, mode="machine")
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: screen_text(app).count("throttled: software thermal slowdown") == 2)
        assert "Look at its fans" in screen_text(app)


ENERGY = Energy(
    gross_j=1.48e6,
    energy_j=1.1e6,
    measured_ns=NS,
    mean_w=31,
    peak_w=52,
    gpu_mean_ratio=0.71,
    gpu_peak_ratio=1,
)
REPORT = EnergyReport(
    desk=DeskEnergy(
        since_ns=0,
        energy=ENERGY,
        bill=Bill(watt_hours=412, price=0.123, currency="EUR"),
        idle_w=9.4,
        basis="",
    ),
    runs=(
        RunEnergy(
            run="transcribe-20251121-230000-048213",
            energy=ENERGY,
            bill=Bill(watt_hours=411),
            tokens_per_joule=0.31,
            basis="",
        ),
    ),
)


def test_energy_is_one_line() -> None:
    assert energy_words(REPORT, UNICODE) == (
        "since noon 412 Wh, 0.12 EUR, idle 9.4 W  ·  transcribe 306 Wh above idle, mean 31.0 W, peak 52.0 W, "
        "GPU 71 %, peak 100 %, 0.31 tokens/J"
    )
    assert energy_words(EnergyReport(), UNICODE) == ""


async def test_the_energy_of_the_night_stands_below_the_chart(engine: FakeEngine) -> None:
    engine.first = snapshot(samples=night(MAC))
    engine.spent = REPORT
    app = viewer(engine, mode="machine")
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("2", "z")
        await until(pilot, lambda: "since noon 412 Wh" in screen_text(app))


def test_a_model_outside_of_the_accelerator_is_warned_of() -> None:
    models = (
        LoadedModel(name="big", size_bytes=24 * GB, vram_bytes=12 * GB),
        LoadedModel(name="whole", size_bytes=6 * GB, vram_bytes=6 * GB),
        LoadedModel(name="mute", size_bytes=None),
    )
    server = ModelServer(address="x", state="up", models=models, at_ns=NOW)
    texts = [" ".join(cell.plain for cell in row.cells).strip() for row in model_rows((server,), UNICODE)]
    assert all(words in texts[0] for words in ("50 % on the CPU", "big", "24.0 GB"))
    assert "on the accelerator" in texts[1]
    assert "on the" not in texts[2]


def test_clusters_of_one_kind_are_told_together() -> None:
    tiers = (
        CpuTier(name="E", kind="Efficiency", ratio=0.8, cores=4),
        CpuTier(name="P0", kind="Performance", ratio=0.2, cores=6),
        CpuTier(name="P1", kind="Performance", ratio=0.4, cores=2),
        CpuTier(name="X", ratio=None, cores=1),
    )
    told = [(name, None if ratio is None else round(ratio, 6)) for name, ratio in kinds_of(tiers)]
    assert told == [("Efficiency", 0.8), ("Performance", 0.25), ("X", None)]


def test_recorded_and_live_samples_are_joined_without_overlap() -> None:
    live, recorded = night(MAC, 60), night(MAC, 20, 10, NOW - 50 * NS)
    times = [one.at_ns for one in joined(ChartChoice(REACHES[1], None, recorded), live)]
    assert times == sorted(set(times))
    assert len(times) > len(live) and times[-1] == live[-1].at_ns
    assert joined(ChartChoice(), live) == live


def test_runs_and_replies_lie_below_the_time_at_which_they_were() -> None:
    series = Series("GPU active", " %", "primary", 100, ((NOW - 300 * NS, 50.0), (NOW, 80.0)))
    view = ChartView(
        (series,),
        NOW,
        600 * NS,
        (Mark(NOW - 300 * NS, None, "transcribe"),),
        ((NOW - 600 * NS, NOW - 300 * NS),),
    )
    runs, replies = ("".join(text for text, _ in pieces) for pieces in marks_of(view, 65, UNICODE))
    middle = column_of(view, 65, NOW - 300 * NS)
    assert runs.index("▏transcribe") == middle
    assert runs.endswith("─")
    assert replies.rstrip() == " " * 5 + "▁" * (middle - 4)
    told = values_at(view._replace(cursor_ns=NOW - 310 * NS))
    assert told == (NOW - 300 * NS, (50.0,))
    words = "".join(text for text, _ in legend_of(view._replace(cursor_ns=NOW - 310 * NS), UNICODE))
    assert "GPU active 50 %" in words and words.endswith("transcribe")


def test_replies_that_follow_each_other_closely_are_one_bar() -> None:
    rows = snapshot().exchanges
    if len(rows) < 2:
        rows = ()
    one = [replaced(row, started_ns=at * NS, ended_ns=(at + 1) * NS) for at, row in enumerate(rows[:2])]
    spans = busy_spans(one, NOW, NS)
    assert spans == (((0, 2 * NS),) if one else ())


def test_fans_and_the_whole_machine_are_told_with_the_processor() -> None:
    from nightdesk.tui.panes.accelerators_row import detail_of

    sample = replaced(
        night(MAC, 0)[0],
        fans=(Fan(name="left", rpm=1200.0, max_rpm=5800.0),),
        system_power_w=40.0,
        origins={"thermal": "notifyutil", "devices.gpu.memory_used_bytes": "ioreg"},
    )
    words = detail_of(sample, "cpu")
    assert "Fan left 1200 of 5800 rpm" in words and "Whole machine 40.0 W" in words
    assert "thermal state by notifyutil" in words
    assert "memory by ioreg" in detail_of(sample, "gpu")
