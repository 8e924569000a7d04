"""What is wrong with the accelerators right now, judged from the samples of the last minute. Values in, alarms out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Final

from nightdesk.core.sensors.energy import gpu_ratio
from nightdesk.model.alarm import Alarm
from nightdesk.model.desk import LoadedModel, ModelServer
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.sample import CPU_HIDDEN, Device, Sample

NS: Final = 1_000_000_000
WINDOW_NS: Final = 90 * NS
"""Older samples and exchanges say nothing about now."""
PAUSE_NS: Final = 2 * NS
"""Between two replies of the same work."""
IDLE_RATIO: Final = 0.05
IDLE_NS: Final = 30 * NS
"""A GPU that does nothing for so long while replies are written is not what writes them."""
FULL_RATIO: Final = 0.95
FULL_NS: Final = 10 * NS
HOT_NS: Final = 5 * NS
GONE_NS: Final = 15 * NS
LATE: Final = 4
"""Samples that are late by so many intervals are missing."""
BUSY_RATIO: Final = 0.3
NO_POWER_W: Final = 0.05
NO_POWER_NS: Final = 10 * NS


def alarms(
    samples: Sequence[Sample],
    now_ns: int,
    *,
    servers: Sequence[ModelServer] = (),
    generating_since_ns: int | None = None,
) -> tuple[Alarm, ...]:
    """The alarms at ``now_ns``, the most urgent first.

    ``samples`` are the newest ones, oldest first; ``generating_since_ns``: since when at least one reply is being
    written without a pause, None when none is.
    """
    gone = _sensor_gone(samples, now_ns)
    if gone is not None or not samples:
        return (gone, *_on_cpu(servers)) if gone else _on_cpu(servers)
    found = [
        *_throttled(samples),
        *_full(samples),
        *_gpu_idle(samples, servers, generating_since_ns),
        *_on_cpu(servers),
        *_device_gone(samples),
        *_no_power(samples),
    ]
    return tuple(found)


def desk_alarms(
    samples: Sequence[Sample],
    now_ns: int,
    servers: Sequence[ModelServer] = (),
    rows: Iterable[ExchangeRow] = (),
) -> tuple[Alarm, ...]:
    """The alarms of a desk from what an engine or a viewer knows of it; ``samples`` and ``rows`` oldest first."""
    recent = list(takewhile(lambda sample: sample.at_ns > now_ns - WINDOW_NS, reversed(samples)))
    recent = recent[::-1] or [samples[-1]] if samples else []
    return alarms(recent, now_ns, servers=servers, generating_since_ns=generating_since(rows, now_ns))


def generating_since(rows: Iterable[ExchangeRow], now_ns: int) -> int | None:
    """Since when replies are being written with no pause worth the name; None when none is."""
    spans = [
        (row.first_token_ns, row.ended_ns or now_ns)
        for row in rows
        if row.first_token_ns is not None and (row.ended_ns or now_ns) > now_ns - WINDOW_NS
    ]
    since = None
    for start, end in sorted(spans, key=lambda span: -span[1]):
        if end < (now_ns if since is None else since) - PAUSE_NS:
            break
        since = start if since is None else min(since, start)
    return since


def _since(samples: Sequence[Sample], true: Callable[[Sample], bool]) -> int | None:
    """Since when ``true`` holds without a break until the newest sample."""
    since = None
    for sample in reversed(samples):
        if not true(sample):
            break
        since = sample.at_ns - max(0, sample.elapsed_ns)
    return since


def _held(samples: Sequence[Sample], true: Callable[[Sample], bool], at_least_ns: int) -> int | None:
    since = _since(samples, true)
    return since if since is not None and samples[-1].at_ns - since >= at_least_ns else None


def _sensor_gone(samples: Sequence[Sample], now_ns: int) -> Alarm | None:
    if not samples:
        return None
    newest = samples[-1]
    age = now_ns - newest.at_ns
    if age <= max(GONE_NS, LATE * newest.elapsed_ns):
        return None
    return Alarm(
        kind="sensor_gone",
        words=f"no measurement for {age // NS} s",
        advice=f"The source {newest.source} is silent. nightdesk doctor says what each source lacks.",
        since_ns=newest.at_ns,
    )


def _device_gone(samples: Sequence[Sample]) -> list[Alarm]:
    """A device that was there within the window, is not there now, and stays away."""
    newest = {device.id for device in samples[-1].devices}
    found = []
    for key, name in {device.id: device.name for sample in samples for device in sample.devices}.items():
        if key in newest:
            continue
        since = _held(samples, _lacks(key), GONE_NS)
        if since is not None:
            advice = samples[-1].unknown.get("devices", "Its source does not report it any more.")
            found.append(
                Alarm(kind="sensor_gone", words=f"{name} is gone", advice=advice, since_ns=since, device=key)
            )
    return found


def _throttled(samples: Sequence[Sample]) -> list[Alarm]:
    found = []
    pressed = _held(samples, lambda one: one.thermal is not None and one.thermal.lower() != "nominal", HOT_NS)
    if pressed is not None:
        found.append(
            Alarm(
                kind="thermal",
                words=f"thermal pressure {samples[-1].thermal}",
                advice="The machine slows down to cool. Improve its airflow, or pause a run.",
                since_ns=pressed,
            )
        )
    for device in samples[-1].devices:
        reasons = hot_reasons(device)
        since = _held(samples, _is_hot(device.id), HOT_NS) if reasons else None
        if since is not None:
            found.append(
                Alarm(
                    kind="thermal",
                    words=f"{name_of(samples[-1], device)} throttled: {', '.join(reasons)}",
                    advice="It runs slower than it could. Look at its fans and its power supply.",
                    since_ns=since,
                    device=device.id,
                )
            )
    return found


def name_of(sample: Sample, device: Device) -> str:
    """The name of a device; of several of a kind its number, as the pane has it."""
    same = [one for one in sample.devices if one.kind == device.kind]
    return device.name if len(same) == 1 else f"{device.kind.upper()} {same.index(device)}"


def hot_reasons(device: Device) -> tuple[str, ...]:
    """Reasons for slow clocks that somebody should look at; a power cap is how a card is set up."""
    return tuple(word for word in device.throttle if word != "power cap")


def _is_hot(key: str) -> Callable[[Sample], bool]:
    return lambda sample: any(device.id == key and hot_reasons(device) for device in sample.devices)


def _lacks(key: str) -> Callable[[Sample], bool]:
    return lambda sample: all(device.id != key for device in sample.devices)


def _is_full(key: str) -> Callable[[Sample], bool]:
    return lambda sample: _device_full(sample, key)


def _full(samples: Sequence[Sample]) -> list[Alarm]:
    found = []
    for device in samples[-1].devices:
        since = None if device.shares_memory else _held(samples, _is_full(device.id), FULL_NS)
        if since is not None:
            found.append(
                Alarm(
                    kind="memory_full",
                    words=f"{name_of(samples[-1], device)}: memory nearly full",
                    advice="The next model may be put on the CPU or fail. Unload one, or ask for a shorter context.",
                    since_ns=since,
                    device=device.id,
                )
            )
    since = _held(samples, _host_full, FULL_NS)
    if since is not None:
        advice = "The system begins to swap, which slows everything down. Unload a model or pause a run."
        found.append(Alarm(kind="memory_full", words="memory nearly full", advice=advice, since_ns=since))
    return found


def _device_full(sample: Sample, key: str) -> bool:
    return any(
        device.id == key
        and device.memory_used_bytes is not None
        and device.memory_total_bytes
        and device.memory_used_bytes / device.memory_total_bytes >= FULL_RATIO
        for device in sample.devices
    )


def _host_full(sample: Sample) -> bool:
    used, total = sample.memory_used_bytes, sample.memory_total_bytes
    return used is not None and bool(total) and used / (total or 1) >= FULL_RATIO


def _gpu_idle(
    samples: Sequence[Sample], servers: Sequence[ModelServer], generating_since_ns: int | None
) -> list[Alarm]:
    if generating_since_ns is None or samples[-1].at_ns - generating_since_ns < IDLE_NS:
        return []
    since = _held(samples, lambda one: (ratio := gpu_ratio(one)) is not None and ratio < IDLE_RATIO, IDLE_NS)
    if since is None:
        return []
    since = max(since, generating_since_ns)
    names = [model.name for server in servers for model in server.models]
    advice = (
        f"It seems to run on the CPU: {', '.join(names)}." if names else "The model seems to run on the CPU."
    )
    return [
        Alarm(
            kind="gpu_idle",
            words=f"GPU idle for {(samples[-1].at_ns - since) // NS} s while a reply is written",
            advice=f"{advice} Look at the server's log for a driver or memory problem.",
            since_ns=since,
        )
    ]


def cpu_share(model: LoadedModel) -> float | None:
    """The part of a loaded model that lies outside of the accelerator's memory; None where that is not told."""
    if model.size_bytes is None or model.vram_bytes is None or model.size_bytes <= 0:
        return None
    return max(0.0, 1 - model.vram_bytes / model.size_bytes)


def _on_cpu(servers: Sequence[ModelServer]) -> tuple[Alarm, ...]:
    found = []
    for server in servers:
        for model in server.models:
            share = cpu_share(model)
            if share:
                advice = "Such a model is many times slower. Take a smaller one or a shorter context, or unload others."
                where = "on the CPU" if share == 1 else f"{share:.0%} on the CPU"
                found.append(
                    Alarm(
                        kind="model_on_cpu",
                        words=f"{model.name} is {where}",
                        advice=advice,
                        since_ns=server.at_ns,
                    )
                )
    return tuple(found)


def _no_power(samples: Sequence[Sample]) -> list[Alarm]:
    since = _held(samples, _hides_power, NO_POWER_NS)
    if since is None:
        return []
    return [
        Alarm(
            kind="power_hidden",
            words="CPU power reads 0 while cores work",
            advice="The counter is hidden from this source: energy is too low. As root, powermetrics may see it.",
            since_ns=since,
        )
    ]


def _hides_power(sample: Sample) -> bool:
    if sample.unknown.get("cpu.power_w") == CPU_HIDDEN:
        return True
    cpu = sample.cpu
    return (
        cpu is not None
        and cpu.power_w is not None
        and cpu.power_w < NO_POWER_W
        and (cpu.ratio or 0) > BUSY_RATIO
    )
