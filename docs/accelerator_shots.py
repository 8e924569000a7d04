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
from nightdesk.core.sensors.recordings import reader_for
from nightdesk.engine.store.history import History
from nightdesk.model.sample import Cpu, CpuTier, Sample
from nightdesk.tui.app import Viewer, make_viewer
from tests.support.recordings import lines_of, macmon, smi

NS, HOUR = 10**9, 3600
PATIENCE_SECONDS = 6.0
"""Until a chart that was just drawn is drawn again, with the newest samples."""
SHOTS = {
    # machine: (columns, rows, keys, what the name ends with)
    "mac": ((160, 48, (), ""), (80, 24, (), ""), (80, 24, ("minus", *["left"] * 20), "-hour")),
    "nvidia": ((120, 40, (), ""), (80, 24, (), "")),
    "amd": ((120, 40, (), ""), (80, 24, (), "")),
    "none": ((80, 24, (), ""),),
}


def load(seconds: int) -> Iterator[float]:
    """How busy a machine is at each second: items of some minutes, and pauses between them."""
    chance = random.Random(7)  # noqa: S311 - the same picture each time
    second = 0
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
    made = {"nvidia": nvidia, "amd": amd, "mac": _mac}[machine](shares)
    (folder / "recording").write_bytes(made)
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
            for words, pressed in (("last ", keys[:1]), ("mean between" if keys else "last ", keys[1:])):
                while words not in _text(viewer):
                    if time.monotonic() > limit:
                        raise SystemExit(f"{machine}: {words!r} never came:\n{_text(viewer)}")
                    await pilot.pause(0.1)
                await pilot.press(*pressed)
            await pilot.pause(PATIENCE_SECONDS)
            picture = small(viewer.export_screenshot(title=f"nightdesk · {desk.name}", simplify=True))
            name = f"accelerators-{machine}{end}-{columns}x{rows}.svg"
            (PICTURES / name).write_text(picture, encoding="utf-8")


def _text(viewer: Viewer) -> str:
    return "\n".join(strip.text for strip in viewer.screen._compositor.render_strips())


async def pictures(machine: str) -> None:
    """All pictures of one machine, on a desk of its own with an hour behind it."""
    folder = make_folder()
    try:
        past, settings = past_of(machine, list(load(HOUR)), folder)
        flags = (
            f"desk.name={machine}",
            "capture.source=off",
            "watch.processes=[]",
            "watch.logs=[]",
            *settings,
        )
        desk = passing_desk(DeskChoice(None), folder, flags)
        desk.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = History(desk.database, keep_ns=10**18, max_bytes=10**9)
        now_ns, source = (
            time.time_ns() - NS,
            f"recording of {past[0].source}" if machine != "none" else "host",
        )
        for ago, sample in zip(range(len(past), 0, -1), past, strict=True):
            store.save_sample(
                msgspec.structs.replace(sample, at_ns=now_ns - ago * NS, elapsed_ns=NS, source=source)
            )
        store.flush()
        store.close()
        await take(desk, machine, flags)
    finally:
        end_desk(folder)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SHOTS:
        asyncio.run(pictures(wanted))
