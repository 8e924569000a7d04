"""Pictures of the accelerators pane for docs/accelerators.md, from recordings that are made up for them.

``python docs/accelerator_shots.py nvidia amd`` takes only those of these machines.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.shots import DARK, PICTURES, small
from nightdesk.cli.desk import DeskChoice
from nightdesk.cli.passing import end_desk, make_folder, passing_desk
from nightdesk.client.desk import Desk
from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.work import Ledger, Work
from nightdesk.core.sensors.recordings import reader_for
from nightdesk.engine.energy import EnergyKeeper
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.engine.store.history import History
from nightdesk.model.config import EnergySection
from nightdesk.model.exchange import Exchange, row_of
from nightdesk.model.job import Run
from nightdesk.model.sample import Cpu, CpuTier, Sample
from nightdesk.tui.app import Viewer
from nightdesk.tui.start import make_viewer
from tests.support.exchanges import exchange
from tests.support.recordings import Chip, Cluster, lines_of, macmon, plist, smi

NS, HOUR = 10**9, 3600
PATIENCE_SECONDS = 6.0
"""Until a chart that was just drawn is drawn again, with the newest samples."""
SIZES = ((160, 48), (120, 40), (80, 24))
Shot = tuple[int, int, tuple[str, ...], str]
EACH: tuple[Shot, ...] = tuple((columns, rows, (), "") for columns, rows in SIZES)
SHOTS: dict[str, tuple[Shot, ...]] = {
    # machine: (columns, rows, keys, what the name ends with)
    "mac": (*EACH, (120, 40, ("enter",), "-sheet"), (80, 24, ("minus", *["left"] * 20), "-hour")),
    "nvidia": EACH,
    "amd": EACH,
    "none": EACH,
    "eight": EACH[1:],
    "ultra": EACH[1:],
}
SIGNS = {"enter": "share of time", "minus": "mean between"}
"""What is on the screen after a key."""
IDLE, HALF = 60, 1500
"""Seconds at the beginning in which nothing runs, and until the second job begins."""


def load(seconds: int) -> Iterator[float]:
    """How busy a machine is at each second: items of some minutes, and pauses between them."""
    chance = random.Random(7)  # noqa: S311 - the same picture each time
    for _ in range(IDLE):
        yield 0.02 + chance.uniform(0, 0.02)
    second = IDLE
    while second < seconds:
        reply, pause = chance.randint(90, 400), chance.choice((15, 30, 60, 120))
        for at in range(reply + pause):
            wave = 0.06 * math.sin((second + at) / 5)
            yield max(0.0, min(1.0, (0.84 if at < reply else 0.03) + wave + chance.uniform(-0.05, 0.05)))
        second += reply + pause


def nvidia(shares: list[float]) -> bytes:
    """A busy card that gets too hot, and one that waits."""
    found = []
    for second, share in enumerate(shares):
        hot = "Active" if share > 0.9 else "Not Active"
        busy = {
            "product_name": "NVIDIA GeForce RTX 4090", "uuid": "GPU-0", "fan_speed": f"{30 + 40 * share:.0f} %",
            "fb_memory_usage/total": "24564 MiB", "fb_memory_usage/used": "19411 MiB",
            "utilization/gpu_util": f"{100 * share:.0f} %", "utilization/memory_util": f"{60 * share:.0f} %",
            "temperature/gpu_temp": f"{46 + 40 * share:.0f} C", "clocks/sm_clock": f"{600 + 2000 * share:.0f} MHz",
            "gpu_power_readings/instant_power_draw": f"{30 + 400 * share:.1f} W",
            "gpu_power_readings/current_power_limit": "450.00 W",
            "clocks_event_reasons/clocks_event_reason_sw_thermal_slowdown": hot,
            "processes/process_info/pid": "4242", "processes/process_info/used_memory": "18990 MiB",
        }  # fmt: skip
        calm = {
            "product_name": "NVIDIA GeForce RTX 3090", "uuid": "GPU-1", "fan_speed": "0 %",
            "fb_memory_usage/total": "24576 MiB", "fb_memory_usage/used": "4 MiB", "utilization/gpu_util": "0 %",
            "temperature/gpu_temp": "38 C", "clocks/sm_clock": "210 MHz",
            "gpu_power_readings/instant_power_draw": "[N/A]",
        }  # fmt: skip
        found.append(smi([busy, calm], 13, second=second))
    return b"".join(found)


def eight(shares: list[float]) -> bytes:
    """A machine with eight cards, each at another place of its work; one is too hot."""
    found = []
    for second, now in enumerate(shares):
        cards, hot = [], ("Not Active", "Active")
        for number in range(8):
            share = now * (0.35 + 0.65 * math.sin((second + 40 * number) / 90) ** 2)
            cards.append({
                "product_name": "NVIDIA H100 80GB HBM3", "uuid": f"GPU-{number}", "fan_speed": "N/A",
                "fb_memory_usage/total": "81559 MiB", "fb_memory_usage/used": f"{9000 + 8200 * number} MiB",
                "utilization/gpu_util": f"{100 * share:.0f} %", "utilization/memory_util": f"{55 * share:.0f} %",
                "temperature/gpu_temp": f"{36 + 48 * share:.0f} C", "clocks/sm_clock": f"{345 + 1600 * share:.0f} MHz",
                "gpu_power_readings/instant_power_draw": f"{72 + 590 * share:.1f} W",
                "gpu_power_readings/current_power_limit": "700.00 W",
                "clocks_event_reasons/clocks_event_reason_hw_thermal_slowdown": hot[number == 5],
                "processes/process_info/pid": f"{4200 + number}",
                "processes/process_info/used_memory": f"{8600 + 8200 * number} MiB",
            })  # fmt: skip
        found.append(smi(cards, 13, second=second))
    return b"".join(found)


def ultra(shares: list[float]) -> bytes:
    """Two dies: six clusters of two kinds of cores, under thermal pressure when busy."""
    dies = (("E0", 4), ("P0", 6), ("P1", 6), ("E1", 4), ("P2", 6), ("P3", 6))
    found = []
    for second, share in enumerate(shares):
        clusters = tuple(
            Cluster(
                f"{name}-Cluster", (share * (0.5 if name[0] == "P" else 0.8),) * cores, mhz=900 + 2500 * share
            )
            for name, cores in dies
        )
        thermal = "Moderate" if share > 0.9 else "Nominal"
        chip = Chip(clusters, cpu_mw=2000 + 40_000 * share, gpu_mw=900 + 85_000 * share, ane_mw=1500 * share,
                    gpu_busy=share, gpu_mhz=338 + 1050 * share, thermal=thermal)  # fmt: skip
        found.append(plist(chip, second=second))
    return b"\0".join(found)


def amd(shares: list[float]) -> bytes:
    """Reports of rocm-smi."""
    return lines_of(
        [
            {"card0": {
                "Card Series": "AMD Radeon RX 7900 XTX", "GPU use (%)": f"{100 * share:.0f}",
                "Average Graphics Package Power (W)": f"{25 + 280 * share:.1f}",
                "Max Graphics Package Power (W)": "327.0",
                "sclk clock speed:": f"({500 + 2000 * share:.0f}Mhz)", "Fan RPM": f"{600 + 1100 * share:.0f}",
                "Temperature (Sensor edge) (C)": f"{40 + 35 * share:.1f}", "VRAM Total Memory (B)": "25753026560",
                "VRAM Total Used Memory (B)": f"{int(15e9 + 4e9 * share)}",
                "GPU Memory Read/Write Activity (%)": f"{50 * share:.0f}",
            }}
            for share in shares
        ]
    )  # fmt: skip


def bare(shares: list[float]) -> tuple[Sample, ...]:
    """A machine without an accelerator."""
    tiers = [CpuTier(name="CPU", ratio=share, cores=8) for share in shares]
    unknown = {"devices": "No GPU was found. The NVIDIA driver is not loaded."}
    return tuple(
        Sample(at_ns=0, elapsed_ns=NS, source="host", cpu=Cpu(ratio=tier.ratio, tiers=(tier,)), devices=(),
               memory_used_bytes=11 * 10**9, memory_total_bytes=32 * 10**9, unknown=unknown)
        for tier in tiers
    )  # fmt: skip


def past_of(machine: str, shares: list[float], folder: Path) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """The samples of the last hour, and the settings of the desk that goes on with them."""
    if machine == "none":
        return bare(shares), ("sensors.source=auto",)
    make = {"nvidia": nvidia, "amd": amd, "mac": _mac, "eight": eight, "ultra": ultra}[machine]
    made = make(shares)
    # What goes on is as busy as the end of the hour was.
    (folder / "recording").write_bytes(make(shares[IDLE : IDLE + 120]))
    reader = reader_for(made[:16_384])
    return (*reader.feed(made), *reader.end()), ("sensors.source=file", "sensors.file=recording")


def _mac(shares: list[float]) -> bytes:
    return lines_of([macmon(share, second=second) for second, share in enumerate(shares)])


async def take(desk: Desk, machine: str, flags: tuple[str, ...]) -> None:
    """All pictures of a machine, in one viewer: without one its desk ends."""
    viewer = make_viewer(desk, theme=DARK, mode="accelerators", flags=flags)
    async with viewer.run_test(size=(160, 48)) as pilot:
        for columns, rows, keys, end in SHOTS[machine]:
            await pilot.resize_terminal(columns, rows)
            limit = time.monotonic() + 60
            told = "since noon" if columns >= 120 and machine != "none" else "last "
            sign = SIGNS[keys[0]] if keys else told
            for words, pressed in (("last ", keys[:1]), (sign, keys[1:])):
                while words not in _text(viewer):
                    if time.monotonic() > limit:
                        raise SystemExit(f"{machine}: {words!r} never came:\n{_text(viewer)}")
                    await pilot.pause(0.1)
                await pilot.press(*pressed)
            await pilot.pause(PATIENCE_SECONDS)
            picture = small(viewer.export_screenshot(title=f"nightdesk · {desk.name}", simplify=True))
            name = f"accelerators-{machine}{end}-{columns}x{rows}.svg"
            (PICTURES / name).write_text(picture, encoding="utf-8")
            if "enter" in keys:
                await pilot.press("escape")


def night(desk: Desk, past: list[Sample], shares: list[float]) -> None:
    """What ran in the last hour: two jobs, their exchanges, and what they used."""
    began = past[0].at_ns
    runs = []
    for job, first, last in (("transcribe", IDLE, HALF), ("synthesize", HALF + 60, len(past) - 5)):
        at_ns, stamp = began + first * NS, time.strftime("%Y%m%d-%H%M%S", time.localtime(began / NS + first))
        run = Run(id=f"{job}-{stamp}-000001", job=job, mode="full", state="done", command=f"python {job}.py",
                  folder=str(desk.folder), created_ns=at_ns, started_ns=at_ns, ended_ns=began + last * NS)  # fmt: skip
        folder = RunFolder(desk.runs / run.id)
        folder.path.mkdir(mode=0o700, parents=True)
        plan = Plan(
            job=job, mode="full", arguments=("python", f"{job}.py"), folder=str(desk.folder), grace_ns=NS
        )
        folder.save_plan(plan)
        folder.save(Work(run, plan, Ledger()))
        runs.append(run)
    store = History(desk.database, keep_ns=10**18, max_bytes=10**9)
    for sample in past:
        store.save_sample(sample)
    made = list(exchanges(shares, runs, began))
    for one in made:
        store.save_exchange(one)
    keeper = EnergyKeeper(
        desk.state / "energy.json", lambda: runs, lambda: map(row_of, made), EnergySection, store
    )
    for sample in past:
        keeper.take(sample)
    keeper.save()
    store.flush()
    store.close()


def exchanges(shares: list[float], runs: list[Run], began: int) -> Iterator[Exchange]:
    """A reply after another as long as the machine is busy."""
    second, number = IDLE, 0
    while second < len(shares) - 40:
        if shares[second] < 0.5:
            second += 1
            continue
        length = 25 + 7 * (number % 5)
        number += 1
        run = runs[0] if second < HALF else runs[1]
        at_ns = began + second * NS
        yield exchange(number, started_ns=at_ns, first_token_ns=at_ns + NS, ended_ns=at_ns + length * NS,
                       run=run.id, job=run.job, item=f"part_{number:03}", verdicts=())  # fmt: skip
        second += length + 3
    # One goes on: what is measured from now on is not idle.
    yield exchange(number + 1, state="running", started_ns=began + second * NS, first_token_ns=began + second * NS,
                   ended_ns=None, done=False, verdicts=())  # fmt: skip


def _text(viewer: Viewer) -> str:
    return "\n".join(strip.text for strip in viewer.screen._compositor.render_strips())


async def pictures(machine: str) -> None:
    """All pictures of one machine, on a desk of its own with an hour behind it."""
    folder = make_folder()
    try:
        shares = list(load(HOUR))
        while min(shares[-60:]) < 0.5:
            del shares[-1]
        past, settings = past_of(machine, shares, folder)
        flags = (
            f"desk.name={machine}",
            "capture.source=off",
            "watch.processes=[]",
            "watch.logs=[]",
            "energy.price_per_kwh=0.32",
            *settings,
        )
        desk = passing_desk(DeskChoice(None), folder, flags)
        desk.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        now_ns, source = (
            time.time_ns() - NS,
            "host" if machine == "none" else f"recording of {past[0].source}",
        )
        shifted = [
            msgspec.structs.replace(sample, at_ns=now_ns - ago * NS, elapsed_ns=NS, source=source)
            for ago, sample in zip(range(len(past), 0, -1), past, strict=True)
        ]
        night(desk, shifted, shares)
        await take(desk, machine, flags)
    finally:
        end_desk(folder)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SHOTS:
        asyncio.run(pictures(wanted))
