"""Accelerators, processor and memory as lines of one table, and one sentence on the line under the cursor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

from nightdesk.core.foreign import safe_line
from nightdesk.core.sensors.alarms import cpu_share
from nightdesk.model.desk import LoadedModel, ModelServer
from nightdesk.model.sample import CpuTier, Device, Fan, Sample
from nightdesk.model.units import (
    NS,
    UNKNOWN,
    counted,
    format_bytes,
    format_frequency,
    format_percent,
    format_watts,
)
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Tone
from nightdesk.tui.widgets.grid import Column, Row
from nightdesk.tui.widgets.meter import progress_bar
from nightdesk.tui.widgets.spark import buckets, spark

CLUSTER = re.compile(r"([A-Za-z]+)\d*-Cluster")
CPU, MEMORY = "cpu", "memory"
"""Keys of the two lines that every machine has."""
SPARK = 10
SPARK_NS = 6 * NS
BAR = 6
COLUMNS = (
    Column("name", "", width=5),
    Column("active", "active", width=6, align="right"),
    Column("spark", "minute", width=SPARK, least=44),
    Column("power", "power", width=7, align="right"),
    Column("clock", "clock", width=8, align="right", least=64),
    Column("heat", "°C", width=4, align="right", least=70),
    Column("fan", "fan", width=8, align="right", least=100),
    Column("note", "memory", flex=1),
)
BUSY, FULL = 0.8, 0.92
HOT_C = 85.0
MODELS_SHOWN = 8


def rows_of(samples: Sequence[Sample], glyphs: Glyphs, with_tiers: bool = False) -> tuple[Row, ...]:
    """Devices, processor, memory, as of the newest sample; ``with_tiers``: each kind of cores has a line."""
    now = samples[-1]
    since_ns = now.at_ns - SPARK * SPARK_NS
    samples = [now, *takewhile(lambda one: one.at_ns >= since_ns, reversed(samples[:-1]))][::-1]
    rows = [_device_row(device, name, samples, glyphs) for device, name in named(now.devices)]
    tiers = _tier_rows(samples, glyphs) if with_tiers else ()
    return (*rows, _cpu_row(samples, glyphs, bool(tiers)), *tiers, _memory_row(samples, glyphs))


def named(devices: Sequence[Device]) -> Iterator[tuple[Device, str]]:
    """Each device with its short name: ``GPU``, or ``GPU 1`` where there are several of a kind."""
    for device in devices:
        same = [each for each in devices if each.kind == device.kind]
        word = device.kind.upper()
        yield device, word if len(same) == 1 else f"{word} {same.index(device)}"


def device_history(samples: Sequence[Sample], key: str, field: str) -> tuple[tuple[int, float | None], ...]:
    """(time, value) of one field of one device."""
    return tuple((sample.at_ns, _field(sample, key, field)) for sample in samples)


def _field(sample: Sample, key: str, field: str) -> float | None:
    value = next((getattr(device, field) for device in sample.devices if device.id == key), None)
    return None if value is None else float(value)


def _spark(points: Sequence[tuple[int, float | None]], glyphs: Glyphs) -> str:
    return spark(buckets(points, points[-1][0], SPARK_NS, SPARK), SPARK, glyphs)


def _ratio_cell(ratio: float | None) -> Cell:
    if ratio is None:
        return Cell(UNKNOWN, "faint")
    return Cell(percent(ratio), "strong" if ratio >= BUSY else "")


def percent(ratio: float | None) -> str:
    """``82 %``."""
    return format_percent(ratio).replace("%", " %")


def _device_row(device: Device, name: str, samples: Sequence[Sample], glyphs: Glyphs) -> Row:
    estimated = "active_ratio" in device.estimated
    heat = device.temperature_c
    nothing = Cell("")
    ane = device.kind == "ane"
    history = device_history(samples, device.id, "active_ratio")
    return Row(
        device.id,
        (
            Cell(name, "accent"),
            nothing if estimated else _ratio_cell(device.active_ratio),
            Cell(_spark(history, glyphs), "muted" if estimated else "primary"),
            Cell(format_watts(device.power_w), "" if device.power_w is not None else "faint"),
            nothing if ane else _known(format_frequency(device.freq_hz)),
            nothing if ane else _known(UNKNOWN if heat is None else f"{heat:.0f}", _heat_tone(heat)),
            Cell(_fan(device)),
            _device_note(device, estimated, glyphs),
        ),
    )


def _fan(device: Device) -> str:
    if device.fan_ratio is not None:
        return percent(device.fan_ratio)
    return "" if device.fan_rpm is None else f"{device.fan_rpm:.0f} rpm"


def _known(words: str, tone: Tone = "") -> Cell:
    return Cell(words, "faint" if words == UNKNOWN else tone)


def _heat_tone(heat: float | None) -> Tone:
    return "warn" if heat is not None and heat >= HOT_C else ""


def _device_note(device: Device, estimated: bool, glyphs: Glyphs) -> Cell:
    if estimated:
        return Cell(f"(estimate {percent(device.active_ratio)})", "muted")
    slow = f"  {glyphs.warn} {', '.join(device.throttle)}" if device.throttle else ""
    if device.memory_used_bytes is None:
        return Cell(device.name, "muted", ((slow, "warn"),))
    memory = memory_cell(device.memory_used_bytes, device.memory_total_bytes, glyphs)
    return Cell(memory.text, memory.tone, (*memory.more, (slow, "warn")))


def memory_cell(used: int | None, total: int | None, glyphs: Glyphs) -> Cell:
    """Bar and ``41.2 / 64.0 GB``."""
    if used is None:
        return Cell(UNKNOWN, "faint")
    if not total:
        return Cell(format_bytes(used))
    tone: Tone = "warn" if used / total >= FULL else "primary"
    bar = progress_bar(used / total, BAR, glyphs, tone)
    one, other = format_bytes(used), format_bytes(total)
    if one.split()[-1] == other.split()[-1]:
        one = one.split()[0]
    return Cell(bar.text, bar.tone, (*bar.more, (f" {one} / {other}", "")))


def _cpu_row(samples: Sequence[Sample], glyphs: Glyphs, has_tiers: bool = False) -> Row:
    now = samples[-1]
    cpu = now.cpu
    history = tuple((each.at_ns, each.cpu.ratio if each.cpu else None) for each in samples)
    watts = format_watts(cpu.power_w if cpu else None)
    tiers = kinds_of(cpu.tiers) if cpu is not None and not has_tiers else []
    words = "  ".join(f"{name} {format_percent(ratio)}" for name, ratio in tiers) if len(tiers) > 1 else ""
    fan = max((fan.rpm for fan in now.fans), default=None)
    more = [thermal_piece(now.thermal, glyphs)] if now.thermal else []
    more += [(("  " if more else "") + words, "muted")] if words else []
    first, *rest = more or [("", "")]
    return Row(
        CPU,
        (
            Cell("CPU", "accent"),
            _ratio_cell(cpu.ratio if cpu else None),
            Cell(_spark(history, glyphs), "primary"),
            _known(watts),
            Cell(""),
            Cell(""),
            Cell("" if fan is None else f"{fan:.0f} rpm"),
            Cell(first[0], first[1], tuple(rest)),
        ),
    )


def kinds_of(tiers: Sequence[CpuTier]) -> list[tuple[str, float | None]]:
    """Busy share by the system's name for a kind of cores, or by the letters of their clusters."""
    return [(name, _mean_ratio(group)) for name, group in tiers_of(tiers).items()]


def tiers_of(tiers: Sequence[CpuTier]) -> dict[str, list[CpuTier]]:
    """Clusters of one kind together, by the system's name for it; without one by their letters: P0 and P1 are P."""
    groups: dict[str, list[CpuTier]] = {}
    for tier in tiers:
        groups.setdefault(tier.kind or letters_of(tier.name), []).append(tier)
    return groups


def letters_of(name: str) -> str:
    """``P`` of ``P1-Cluster``; a name of another kind as it is."""
    found = CLUSTER.fullmatch(name)
    return found[1] if found else name


def tier_of(sample: Sample, name: str) -> float | None:
    """How busy the cores of one kind were."""
    return _mean_ratio(tiers_of(sample.cpu.tiers).get(name, ())) if sample.cpu else None


def _tier_rows(samples: Sequence[Sample], glyphs: Glyphs) -> tuple[Row, ...]:
    cpu = samples[-1].cpu
    groups = tiers_of(cpu.tiers) if cpu is not None else {}
    return (
        tuple(_tier_row(name, group, samples, glyphs) for name, group in groups.items())
        if len(groups) > 1
        else ()
    )


def _tier_row(name: str, group: Sequence[CpuTier], samples: Sequence[Sample], glyphs: Glyphs) -> Row:
    history = tuple((each.at_ns, tier_of(each, name)) for each in samples)
    clocks = [tier.freq_hz for tier in group if tier.freq_hz]
    cores = sum(tier.cores for tier in group)
    more = [counted(cores, "core")] if cores else []
    more += [f"in {len(group)} clusters"] if len(group) > 1 else []
    kind = group[0].kind
    nothing = Cell("")
    return Row(
        f"tier:{name}",
        (
            Cell(f" {safe_line(letters_of(group[0].name), 4)}", "muted"),
            _ratio_cell(_mean_ratio(group)),
            Cell(_spark(history, glyphs), "muted"),
            nothing,
            Cell(format_frequency(max(clocks)) if clocks else ""),
            nothing,
            nothing,
            Cell(f"{safe_line(kind, 20)}  " if kind else "", "", ((" ".join(more), "muted"),)),
        ),
    )


def _mean_ratio(tiers: Sequence[CpuTier]) -> float | None:
    known = [(tier.ratio, max(1, tier.cores)) for tier in tiers if tier.ratio is not None]
    return sum(ratio * cores for ratio, cores in known) / sum(cores for _, cores in known) if known else None


def model_rows(servers: Iterable[ModelServer], glyphs: Glyphs) -> tuple[Row, ...]:
    """The models that servers hold, the largest first, with a warning where one lies outside of the accelerator."""
    models = [model for server in servers for model in server.models]
    models.sort(key=lambda model: -(model.size_bytes or 0))
    return tuple(_model_row(model, glyphs) for model in models[:MODELS_SHOWN])


def _model_row(model: LoadedModel, glyphs: Glyphs) -> Row:
    share = cpu_share(model)
    size = f"{safe_line(model.name, 60).removesuffix(':latest'):<20}  {format_bytes(model.size_bytes):>7}"
    if share:
        note = Cell(f"{glyphs.warn} {percent(share)} on the CPU", "warn", ((f"  {size}", ""),))
    else:
        note = Cell(size, "", (("  on the accelerator", "muted"),) if share is not None else ())
    return Row(f"model:{model.name}", (Cell("model", "accent"), note))


def thermal_piece(word: str, glyphs: Glyphs) -> tuple[str, Tone]:
    """The system's word for its heat, with a sign."""
    calm = word.casefold() == "nominal"
    return f"{glyphs.live if calm else glyphs.warn} {word}", "ok" if calm else "warn"


def memory_ratio(sample: Sample) -> float | None:
    """Share of the host's memory in use."""
    if sample.memory_used_bytes is None or not sample.memory_total_bytes:
        return None
    return sample.memory_used_bytes / sample.memory_total_bytes


def _memory_row(samples: Sequence[Sample], glyphs: Glyphs) -> Row:
    now = samples[-1]
    history = tuple((each.at_ns, memory_ratio(each)) for each in samples)
    cell = memory_cell(now.memory_used_bytes, now.memory_total_bytes, glyphs)
    swap = f"  swap {format_bytes(now.swap_used_bytes)}" if now.swap_used_bytes else ""
    note = Cell(cell.text, cell.tone, (*cell.more, (swap, "muted")))
    ratio = _ratio_cell(memory_ratio(now))
    return Row(
        MEMORY,
        (Cell("mem", "accent"), ratio, Cell(_spark(history, glyphs), "primary"), *[Cell("")] * 4, note),
    )


FIELD_WORDS = {
    "active_ratio": "active",
    "scaled_ratio": "capacity",
    "memory_used_bytes": "memory",
    "memory_total_bytes": "total memory",
    "power_w": "power",
    "power_limit_w": "power limit",
    "freq_hz": "clock",
    "temperature_c": "temperature",
    "fan_ratio": "fan",
    "memory_busy_ratio": "Memory traffic",
    "encoder_ratio": "Encoder",
    "decoder_ratio": "Decoder",
    "cpu": "CPU",
    "cpu.ratio": "CPU %",
    "cpu.power_w": "CPU power",
    "package_power_w": "power of the whole package",
    "thermal": "thermal state",
}


def detail_of(sample: Sample, key: str, names: Mapping[int, str] | None = None) -> str:
    """What the line of ``key`` has no room for: what its figures mean, and why some are not known."""
    device = next((each for each in sample.devices if each.id == key), None)
    if device is not None:
        told = _origins(sample, f"devices.{device.id}")
        return ". ".join((*_device_words(device, names or {}), *told, *_reasons(device.unknown, "")))
    if key == CPU:
        package = sample.package_power_w
        words = [f"Whole package {format_watts(package)}"] if package is not None else []
        if sample.system_power_w is not None:
            words.append(f"Whole machine {format_watts(sample.system_power_w)}")
        words += [_fan_words(fan) for fan in sample.fans]
        words += _origins(sample, "cpu", "package_power_w", "thermal")
        return ". ".join((*words, *_reasons(sample.unknown, "cpu", "package_power_w", "thermal")))
    if key.startswith("tier:"):
        return "Cores of one kind: the mean of their busy shares, not the cluster's own number"
    if key.startswith("model:"):
        return "A model that a server holds in memory; what lies outside of the accelerator's makes it slow"
    return ". ".join(_reasons(sample.unknown, "memory", "swap"))


def _fan_words(fan: Fan) -> str:
    most = f" of {fan.max_rpm:.0f}" if fan.max_rpm else ""
    return f"Fan {safe_line(fan.name, 40)} {fan.rpm:.0f}{most} rpm"


def _origins(sample: Sample, *starts: str) -> list[str]:
    """Which values another source gave."""
    found = []
    for name, source in sample.origins.items():
        if any(name.startswith(start) for start in starts):
            found.append(
                f"{FIELD_WORDS.get(name, FIELD_WORDS.get(name.rpartition('.')[2], 'This'))} by {source}"
            )
    return list(dict.fromkeys(found))


def _state_words(device: Device) -> Iterator[str]:
    """What few cards tell: its state, the clock that it could have, its bus, and memory that fails."""
    if device.performance_state is not None:
        yield f"State {device.performance_state}"
    if device.max_freq_hz is not None:
        yield f"Clock at most {format_frequency(device.max_freq_hz)}"
    traffic = ((device.pcie_in_bytes_s, "in"), (device.pcie_out_bytes_s, "out"))
    if any(speed for speed, _ in traffic):
        known = (f"{format_bytes(int(speed))}/s {way}" for speed, way in traffic if speed is not None)
        yield f"Bus {', '.join(known)}"
    if device.memory_errors:
        yield f"{device.memory_errors} memory errors that could not be corrected"


def _device_words(device: Device, names: Mapping[int, str]) -> Iterator[str]:
    yield device.name
    if device.throttle:
        yield f"Slowed by {', '.join(device.throttle)}"
    if device.scaled_ratio is not None:
        yield f"{percent(device.scaled_ratio)} of its capacity, weighted by clock"
    if device.power_limit_w is not None:
        yield f"Limit {format_watts(device.power_limit_w)}"
    if device.fan_ratio is not None:
        yield f"Fan {percent(device.fan_ratio)}"
    if device.fan_rpm is not None:
        yield f"Fan {device.fan_rpm:.0f} rpm"
    if device.shares_memory and device.memory_used_bytes is not None:
        yield "Its memory is the machine's"
    for field in ("memory_busy_ratio", "encoder_ratio", "decoder_ratio"):
        if value := getattr(device, field):
            yield f"{FIELD_WORDS[field]} {percent(value)}"
    yield from _state_words(device)
    for part in device.slices:
        used, total = format_bytes(part.memory_used_bytes), format_bytes(part.memory_total_bytes)
        yield f"{part.name.capitalize()}: {used} of {total}"
    held = sorted(device.processes, key=lambda process: -(process.memory_bytes or 0))
    for process in held[:2]:
        name = safe_line(names.get(process.pid, ""), 40) or "Process"
        busy = f", {percent(process.active_ratio)} active" if process.active_ratio is not None else ""
        yield f"{name} {process.pid} holds {format_bytes(process.memory_bytes)}{busy}"
    if "power_w" in device.derived:
        yield "Power computed from energy and time"
    if "active_ratio" in device.estimated:
        yield "Its activity has no counter: the percentage is estimated from the power"


def _reasons(unknown: dict[str, str], *starts: str) -> Iterator[str]:
    for name, reason in unknown.items():
        if any(name.startswith(start) for start in starts):
            yield f"{FIELD_WORDS.get(name, name)} {UNKNOWN}: {reason.rstrip('.')}"
