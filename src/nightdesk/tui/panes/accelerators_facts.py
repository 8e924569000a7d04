"""All that is known of one line of the accelerators pane, as names and values: device, processor, memory, model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from nightdesk.client.mirror import Mirror
from nightdesk.core.foreign import safe_line
from nightdesk.core.sensors.alarms import cpu_share, desk_alarms
from nightdesk.model.desk import LoadedModel, ModelServer
from nightdesk.model.process import ProcessRow
from nightdesk.model.sample import CpuTier, Device, Fan, Sample
from nightdesk.model.units import (
    NS,
    UNKNOWN,
    counted,
    format_bytes,
    format_duration,
    format_frequency,
    format_watts,
)
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.accelerators_row import (
    CPU,
    FIELD_WORDS,
    MEMORY,
    memory_ratio,
    named,
    percent,
    thermal_piece,
    tier_of,
    tiers_of,
)
from nightdesk.tui.text import Cell

PROCESSES_SHOWN = 40
Fact = tuple[str, Cell]
Shown = Callable[[float], str]
Lists = Iterator[tuple[str, list[Cell]]]


def _degrees(value: float) -> str:
    return f"{value:.0f} °C"


def _rpm(value: float) -> str:
    return f"{value:.0f} rpm"


def _rate(value: float) -> str:
    return f"{format_bytes(int(value))}/s"


FIELDS: tuple[tuple[str, str, Shown], ...] = (
    ("active", "active_ratio", percent),
    ("capacity", "scaled_ratio", percent),
    ("power", "power_w", format_watts),
    ("limit", "power_limit_w", format_watts),
    ("clock", "freq_hz", format_frequency),
    ("at most", "max_freq_hz", format_frequency),
    ("heat", "temperature_c", _degrees),
    ("fan", "fan_ratio", percent),
    ("fan", "fan_rpm", _rpm),
    ("traffic", "memory_busy_ratio", percent),
    ("encoder", "encoder_ratio", percent),
    ("decoder", "decoder_ratio", percent),
    ("bus in", "pcie_in_bytes_s", _rate),
    ("bus out", "pcie_out_bytes_s", _rate),
)
"""Name, field of a device, and how its value is written."""
MEANINGS = {"active_ratio": ", share of time", "scaled_ratio": ", weighted by clock"}
SETTLED = ("limit", "at most")
"""What does not change needs no mean."""


def facts_of(desk: Mirror, key: str, now_ns: int, glyphs: Glyphs) -> tuple[str, list[Fact]]:
    """Title and facts of the line ``key``."""
    samples = tuple(desk.samples)
    if not samples:
        return "Accelerators", [("", Cell("No sample has come yet.", "muted"))]
    now = samples[-1]
    if key.startswith("model:"):
        return _model(desk.servers, key.removeprefix("model:"), now_ns, glyphs)
    age = (
        f"{format_duration(max(0, now_ns - now.at_ns) // NS * NS)} ago" if now_ns - now.at_ns >= NS else "now"
    )
    span_ns = (now.at_ns - samples[0].at_ns) // NS * NS
    span = f"   mean and peak over {format_duration(span_ns)}" if span_ns else ""
    source = ("source", Cell(f"{now.source} {glyphs.dot} {age}{span}", "muted"))
    if key == MEMORY:
        return "Memory", [*_memory(samples), source]
    if key == CPU:
        return "Processor", [*_cpu(samples, glyphs), source]
    if key.startswith("tier:"):
        return f"Cores {safe_line(key.removeprefix('tier:'), 40)}", [*_tier(samples, key), source]
    found = next(((each, name) for each, name in named(now.devices) if each.id == key), None)
    if found is None:
        why = now.unknown.get("devices", "Its source does not report it any more.")
        return "Accelerator", [("", Cell(f"{glyphs.warn} It is gone. {why}", "warn"))]
    device, name = found
    words = desk_alarms(samples, now_ns, desk.servers, desk.exchanges.values())
    alarms = [
        ("alarm", Cell(f"{glyphs.warn} {one.words}", "bad", ((f"  {one.advice}", "muted"),)))
        for one in words
        if one.device == key
    ]
    return name, [*alarms, *_device(samples, device, glyphs), source]


def mean_and_peak(
    samples: Sequence[Sample], value_of: Callable[[Sample], float | None]
) -> tuple[float, float] | None:
    """Mean over the true lengths of the samples, and the greatest value; None before two are known."""
    known = [(value, sample.elapsed_ns) for sample in samples if (value := value_of(sample)) is not None]
    whole = sum(length for _, length in known)
    if len(known) < 2 or whole <= 0:
        return None
    return sum(value * length for value, length in known) / whole, max(value for value, _ in known)


def _over(samples: Sequence[Sample], value_of: Callable[[Sample], float | None], shown: Shown) -> str:
    found = mean_and_peak(samples, value_of)
    return f"   mean {shown(found[0])}, peak {shown(found[1])}" if found else ""


def _origin(sample: Sample, name: str, device: Device | None = None) -> str:
    field = name.rpartition(".")[2]
    kind = "measured"
    if device is not None and field in device.estimated:
        kind = "estimate"
    elif (device is not None and field in device.derived) or name in sample.derived:
        kind = "derived"
    source = sample.origins.get(name)
    by = f" by {source}" if source else ""
    return f"   {kind}{by}{MEANINGS.get(field, '')}"


def _unknown(name: str, why: str) -> Fact:
    return name, Cell(UNKNOWN, "faint", ((f"  {why}", "muted"),))


def _device(samples: Sequence[Sample], device: Device, glyphs: Glyphs) -> Iterator[Fact]:
    now = samples[-1]
    yield "device", Cell(device.name, "strong")
    if device.throttle:
        yield "slowed by", Cell(f"{glyphs.warn} {', '.join(device.throttle)}", "warn")
    told = {"memory_total_bytes", "memory_used_bytes"}
    for name, field, shown in FIELDS:
        told.add(field)
        value = getattr(device, field)
        if value is None:
            if field in device.unknown:
                yield _unknown(name, device.unknown[field])
            continue
        over = "" if name in SETTLED else _over(samples, _field(device.id, field), shown)
        origin = _origin(now, f"devices.{device.id}.{field}", device)
        yield name, Cell(shown(value), "", ((over, ""), (origin, "muted")))
    yield from _device_memory(samples, device)
    if device.performance_state is not None:
        yield "state", Cell(f"{device.performance_state}   P0 is the fastest", "")
    if device.memory_errors:
        yield "errors", Cell(f"{device.memory_errors} of its memory that could not be corrected", "warn")
    for name, why in device.unknown.items():
        if name not in told:
            yield _unknown(FIELD_WORDS.get(name, name), why)


def _device_memory(samples: Sequence[Sample], device: Device) -> Iterator[Fact]:
    used = device.memory_used_bytes
    if used is None:
        if why := device.unknown.get("memory_used_bytes"):
            yield _unknown("memory", why)
        return
    words = format_bytes(used)
    if device.memory_total_bytes:
        words += f" of {format_bytes(device.memory_total_bytes)}, {percent(used / device.memory_total_bytes)}"
    peak = mean_and_peak(samples, _field(device.id, "memory_used_bytes"))
    over = f"   peak {format_bytes(int(peak[1]))}" if peak else ""
    shared = "   the machine's own" if device.shares_memory else ""
    origin = _origin(samples[-1], f"devices.{device.id}.memory_used_bytes", device)
    yield "memory", Cell(words, "", ((over, ""), (shared + origin, "muted")))


def _field(key: str, field: str) -> Callable[[Sample], float | None]:
    return lambda sample: next(
        (getattr(device, field) for device in sample.devices if device.id == key), None
    )


def _cpu(samples: Sequence[Sample], glyphs: Glyphs) -> Iterator[Fact]:
    now = samples[-1]
    if now.cpu is None:
        yield _unknown("CPU", now.unknown.get("cpu", "No source reports it."))
    else:
        if now.cpu.ratio is not None:
            over = _over(samples, lambda one: one.cpu.ratio if one.cpu else None, percent)
            yield "busy", Cell(percent(now.cpu.ratio), "", ((over, ""), (_origin(now, "cpu.ratio"), "muted")))
        for tier in now.cpu.tiers:
            yield safe_line(tier.name, 10), Cell(_tier_words(tier))
        if now.cpu.power_w is not None:
            over = _over(samples, lambda one: one.cpu.power_w if one.cpu else None, format_watts)
            origin = _origin(now, "cpu.power_w")
            yield "power", Cell(format_watts(now.cpu.power_w), "", ((over, ""), (origin, "muted")))
    yield from _whole_power(samples, "package", "package_power_w")
    yield from _whole_power(samples, "machine", "system_power_w")
    if now.thermal:
        words, tone = thermal_piece(now.thermal, glyphs)
        yield "thermal", Cell(words, tone, ((_origin(now, "thermal"), "muted"),))
    for fan in now.fans:
        yield "fan", Cell(fan_words(fan))
    if not now.devices and (why := now.unknown.get("devices")):
        yield _unknown("GPU", why)
    for name, why in now.unknown.items():
        if name.startswith(("cpu.", "package_power_w", "system_power_w", "thermal", "fans")):
            yield _unknown(FIELD_WORDS.get(name, name), why)


def _whole_power(samples: Sequence[Sample], name: str, field: str) -> Iterator[Fact]:
    value = getattr(samples[-1], field)
    if value is not None:
        over = _over(samples, lambda one: getattr(one, field), format_watts)
        yield name, Cell(format_watts(value), "", ((over, ""), (_origin(samples[-1], field), "muted")))


def fan_words(fan: Fan) -> str:
    """``left 1914 of 5800 rpm``."""
    most = f" of {fan.max_rpm:.0f}" if fan.max_rpm else ""
    return f"{safe_line(fan.name, 40)} {fan.rpm:.0f}{most} rpm"


def _tier_words(tier: CpuTier) -> str:
    words = [] if tier.kind is None else [safe_line(tier.kind, 40)]
    words += [counted(tier.cores, "core")] if tier.cores else []
    words.append(f"{percent(tier.ratio)} busy")
    words += [f"{percent(tier.scaled_ratio)} of their capacity"] if tier.scaled_ratio is not None else []
    words += [format_frequency(tier.freq_hz)] if tier.freq_hz else []
    return "   ".join(words)


def _tier(samples: Sequence[Sample], key: str) -> Iterator[Fact]:
    cpu = samples[-1].cpu
    name = key.removeprefix("tier:")
    over = _over(samples, lambda one: tier_of(one, name), percent)
    for tier in tiers_of(cpu.tiers if cpu else ()).get(name, ()):
        yield safe_line(tier.name, 10), Cell(_tier_words(tier))
    if over:
        yield "together", Cell(over.strip())


def _memory(samples: Sequence[Sample]) -> Iterator[Fact]:
    now = samples[-1]
    if now.memory_used_bytes is None:
        yield _unknown("memory", now.unknown.get("memory_used_bytes", "This source does not report it."))
    else:
        total = f" of {format_bytes(now.memory_total_bytes)}" if now.memory_total_bytes else ""
        ratio = memory_ratio(now)
        share = f", {percent(ratio)}" if ratio is not None else ""
        over = _over(samples, memory_ratio, percent)
        origin = _origin(now, "memory_used_bytes")
        yield (
            "in use",
            Cell(f"{format_bytes(now.memory_used_bytes)}{total}{share}", "", ((over, ""), (origin, "muted"))),
        )
    if now.swap_used_bytes is not None:
        yield "swap", Cell(format_bytes(now.swap_used_bytes))
    elif why := now.unknown.get("swap_used_bytes"):
        yield _unknown("swap", why)
    shared = [
        device for device in now.devices if device.shares_memory and device.memory_used_bytes is not None
    ]
    for device in shared:
        yield "of it GPU", Cell(format_bytes(device.memory_used_bytes), "", ((f"   {device.name}", "muted"),))


def _model(servers: Iterable[ModelServer], name: str, now_ns: int, glyphs: Glyphs) -> tuple[str, list[Fact]]:
    title = f"Model {safe_line(name, 60)}"
    found = [(server, model) for server in servers for model in server.models if model.name == name]
    if not found:
        return title, [("", Cell("No server holds it any more.", "muted"))]
    facts: list[Fact] = []
    for server, model in found:
        facts += [("server", Cell(server.address, "", ((f"   {server.version or ''}", "muted"),)))]
        facts += _model_facts(model, now_ns, glyphs)
    return title, facts


def _model_facts(model: LoadedModel, now_ns: int, glyphs: Glyphs) -> Iterator[Fact]:
    share = cpu_share(model)
    yield (
        "size",
        Cell(
            format_bytes(model.size_bytes),
            "",
            ((f"   {format_bytes(model.vram_bytes)} on the accelerator", ""),),
        ),
    )
    if share:
        words = f"{glyphs.warn} {percent(share)} of it lies outside of the accelerator: many times slower."
        advice = "  Take a smaller one or a shorter context, or unload others."
        yield "on the CPU", Cell(words, "warn", ((advice, "muted"),))
    elif share is None:
        yield _unknown("on the CPU", "The server does not say where it lies.")
    if model.context is not None:
        yield "context", Cell(f"{model.context:,} tokens")
    if model.expires_ns is not None:
        left = model.expires_ns - now_ns
        yield (
            "unloaded",
            Cell(f"in {format_duration(left // NS * NS)} without a request" if left > 0 else "any moment"),
        )


def lists_of(desk: Mirror, key: str) -> Lists:
    """Headings and lines: who holds memory there, the greatest first."""
    device = next((one for one in (desk.samples[-1].devices if desk.samples else ()) if one.id == key), None)
    if key == MEMORY:
        rows = sorted(desk.processes.values(), key=lambda row: -(row.rss_bytes or 0))[:PROCESSES_SHOWN]
        yield (
            "The greatest processes of the machine",
            [_process(row.key.pid, row.rss_bytes, "", row) for row in rows],
        )
    if device is None:
        return
    known = {row.key.pid: row for row in desk.processes.values()}
    held = sorted(device.processes, key=lambda one: -(one.memory_bytes or 0))
    if held:
        lines = [
            _process(
                one.pid,
                one.memory_bytes,
                "" if one.active_ratio is None else f"{percent(one.active_ratio)} active",
                known.get(one.pid),
            )
            for one in held[:PROCESSES_SHOWN]
        ]
        yield f"{_processes(len(held))} with memory there", lines
    for part in device.slices:
        of = f"{format_bytes(part.memory_used_bytes)} of {format_bytes(part.memory_total_bytes)}"
        yield (
            f"{safe_line(part.name, 60)}: {of}",
            [
                _process(one.pid, one.memory_bytes, "", known.get(one.pid))
                for one in part.processes[:PROCESSES_SHOWN]
            ],
        )


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _process(pid: int, held: int | None, active: str, row: ProcessRow | None) -> Cell:
    owner = f"   {row.job or row.owner}" if row is not None and row.owner != "other" else ""
    words = safe_line(row.command or row.name, 400) if row is not None else "not seen from here"
    lead = (
        f"{pid:>8}  {format_bytes(held):>8}  {active:<14}"
        if active
        else f"{pid:>8}  {format_bytes(held):>8}  "
    )
    return Cell(lead, "", ((words, "" if row is not None else "faint"), (owner, "accent")))
