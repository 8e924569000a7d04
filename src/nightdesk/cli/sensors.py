"""``nightdesk sensors``: measurements of this machine now, or those of a recording."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nightdesk.model.config import SENSOR_SOURCES

if TYPE_CHECKING:
    from io import BufferedReader

    from nightdesk.model.sample import Device, Sample, SensorLine

SOURCES = tuple(name for name in SENSOR_SOURCES if name not in ("off", "file"))
RECORDING_NAME = "recording"
"""In the temporary desk: a link to the file."""
_CHUNK = 65_536
NO_TIME = "The recording does not tell when this sample was taken."
NO_LENGTH = "The recording does not tell how long this sample is."


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each sample.")
@click.option("--once", is_flag=True, help="End after the first sample.")
@click.option(
    "--source", type=click.Choice(SOURCES), default="auto", show_default=True, help="Where to measure."
)
@click.option(
    "--interval-ms",
    type=click.IntRange(100, 3_600_000),
    default=1000,
    show_default=True,
    help="Milliseconds between two samples.",
)
@click.option(
    "--replay",
    type=click.File("rb"),
    metavar="FILE",
    help="Show a recording instead, whose kind is recognised; - is standard input.",
)
@click.pass_context
def sensors(
    ctx: click.Context,
    as_json: bool,
    once: bool,
    source: str,
    interval_ms: int,
    replay: BufferedReader | None,
) -> None:
    """Show what CPU, GPU and Neural Engine do.

    On a terminal, a recording plays in the viewer as if it were live, on a desk of its own that leaves nothing
    behind; into a pipe, and with --json or --once, its samples are printed at once.

    Unknown values are absent from JSON, with the reason under "unknown".
    """
    show = _show_json if as_json else _show_line
    if replay is not None and not as_json and not once and replay.name != "<stdin>" and sys.stdout.isatty():
        _view(ctx, Path(replay.name))
    elif replay is not None:
        _replay(replay, show, once=once)
    else:
        _measure(source, interval_ms, show, once=once)


def _measure(source: str, interval_ms: int, show: Callable[[Sample], None], *, once: bool) -> None:
    from nightdesk.engine.sensors.choice import choose
    from nightdesk.engine.sensors.host import open_host
    from nightdesk.engine.sensors.loop import SensorLoop
    from nightdesk.engine.sensors.signals import StopOnSignals
    from nightdesk.model.sample import SampleTaken

    choice = choose(source, interval_ms)

    def emit(line: SensorLine) -> None:
        if isinstance(line, SampleTaken):
            # One single sample is worth the wait for a program that has just been started.
            if once and line.sample.source == "host" and loop.waiting:
                return
            with signals:
                show(line.sample)
            if once:
                loop.stop()
        elif line.message and source != "host":
            _note(f"{line.source}: {line.message}")

    loop = SensorLoop(
        open_host(),
        emit,
        interval_ms=interval_ms,
        polled=choice.polled,
        streams=choice.streams,
        extras=choice.extras,
        no_devices=choice.no_devices,
    )
    signals = StopOnSignals(loop.stop)
    loop.run(signals.wake)


def _view(ctx: click.Context, file: Path) -> None:
    from nightdesk.cli.desk import DeskChoice
    from nightdesk.cli.passing import end_desk, make_folder, passing_desk
    from nightdesk.core.foreign import safe_line
    from nightdesk.engine.sensors.playback import check_recording
    from nightdesk.tui.guard import check_terminal, guarded

    check_recording(file)
    check_terminal()
    choice = ctx.find_object(DeskChoice) or DeskChoice(None)
    options = ctx.parent.params if ctx.parent else {}
    folder = make_folder()
    try:
        (folder / RECORDING_NAME).symlink_to(file.resolve())
        flags = (*choice.settings, *_flags(safe_line(file.name, 80)))
        desk = passing_desk(choice, folder, flags)

        def view() -> int:
            from nightdesk.tui.start import run_viewer

            theme, plain = options.get("theme"), options.get("plain", False)
            return run_viewer(desk, theme=theme, ascii=plain, mode="accelerators", flags=flags)

        status = guarded(view)
    finally:
        end_desk(folder)
    sys.exit(status)


def _flags(name: str) -> tuple[str, ...]:
    """The settings of the temporary desk: nothing of this machine is looked at."""
    return (
        f"desk.name={name}",
        "capture.source=off",
        "sensors.source=file",
        f"sensors.file={RECORDING_NAME}",
        "watch.processes=[]",
        "watch.logs=[]",
    )


def _replay(content: BufferedReader, show: Callable[[Sample], None], *, once: bool) -> None:
    from nightdesk.core.sensors.recordings import SUPPORTED, Recording
    from nightdesk.model.errors import NightdeskError

    reader = Recording()
    shown = 0
    data = b"?"
    while data:
        # What is there, and no more: a sample of a live pipe is shown when it comes.
        data = content.read1(_CHUNK)
        for sample in reader.feed(data) if data else reader.end():
            show(sample)
            shown += 1
            if once:
                return
    if reader.dropped:
        _note(f"{reader.dropped} of {shown + reader.dropped} documents could not be read.")
    if not shown:
        raise NightdeskError("The recording holds no complete sample.", SUPPORTED)


def _note(text: str) -> None:
    from nightdesk.cli.output import print_note

    print_note(text)


def _show_json(sample: Sample) -> None:
    import msgspec

    from nightdesk.cli.output import print_json

    if sample.at_ns and sample.elapsed_ns:
        print_json(sample)
        return
    told = msgspec.to_builtins(sample)
    for name, reason in (("at_ns", NO_TIME), ("elapsed_ns", NO_LENGTH)):
        if not told[name]:
            del told[name]
            told["unknown"] = {**told.get("unknown", {}), name: reason}
    print_json(told)


def _show_line(sample: Sample) -> None:
    from nightdesk.cli.output import print_line

    print_line(sample_line(sample))
    sys.stdout.flush()


def sample_line(sample: Sample) -> str:
    """A sample as one line for people: time, source, CPU, each device, memory, thermal pressure."""
    from datetime import datetime

    from nightdesk.core.foreign import safe_line
    from nightdesk.model.units import NS, format_bytes, format_percent, format_watts

    moment = datetime.fromtimestamp(sample.at_ns // NS).astimezone()
    clock = f"{moment:%H:%M:%S}" if sample.at_ns else "--:--:--"
    cpu = sample.cpu
    parts = [f"{clock} {sample.source}", f"CPU {format_percent(cpu.ratio if cpu else None)}"]
    if cpu and cpu.power_w is not None:
        parts[-1] += f" {format_watts(cpu.power_w)}"
    parts += [_device(device) for device in sample.devices]
    if sample.memory_total_bytes is not None:
        parts.append(
            f"mem {format_bytes(sample.memory_used_bytes)} / {format_bytes(sample.memory_total_bytes)}"
        )
    if sample.thermal is not None:
        parts.append(sample.thermal)
    if not sample.devices and "devices" in sample.unknown:
        # One line has room for the first sentence; the whole reason was told when it became true.
        parts.append(sample.unknown["devices"].split(". ")[0].rstrip(".") + ".")
    return safe_line("  ".join(parts))


def _device(device: Device) -> str:
    from nightdesk.model.units import format_bytes, format_frequency, format_percent, format_watts

    if device.kind == "ane":
        return f"ANE {format_watts(device.power_w)} (estimate {format_percent(device.active_ratio)})"
    ratio, kind = device.active_ratio, ""
    if ratio is None and device.scaled_ratio is not None:
        ratio, kind = device.scaled_ratio, " scaled"
    words = [f"{device.name} {format_percent(ratio)}{kind} {format_watts(device.power_w)}"]
    if device.freq_hz is not None:
        words.append(format_frequency(device.freq_hz))
    if device.memory_total_bytes is not None:
        words.append(f"{format_bytes(device.memory_used_bytes)} / {format_bytes(device.memory_total_bytes)}")
    if device.temperature_c is not None:
        words.append(f"{device.temperature_c:.0f} °C")
    if device.throttle:
        words.append(f"throttled: {', '.join(device.throttle)}")
    return " ".join(words)
