"""The sensors of a real engine: a seldom look by one process while nobody is there, and alarms for who asks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.model.desk import SampleAdded
from tests.support.recordings import Chip, Cluster, plist

NS = 10**9
CONFIG = """
[capture]
source = "off"
[sensors]
source = "host"
interval = "500ms"
[watch]
interval = "250ms"
processes = []
logs = []
"""
HOT = Chip((Cluster("P-Cluster", (0.9, 0.8)),), cpu_mw=0.0, thermal="Heavy")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk whose engine is ended afterwards."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (tmp_path / "nightdesk.toml").write_text(CONFIG)
    (tmp_path / "hot.plist").write_bytes(plist(HOT, elapsed_ms=12_000))
    made = find_desk(tmp_path)
    yield made
    with contextlib.suppress(Exception):
        pid = Engine(made.socket).shutdown().desk.engine.pid
        wait_for(lambda: not psutil.pid_exists(pid), "the engine's end")


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of ``condition``, asked seldom enough to cost nothing."""
    limit = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < limit, f"waited for {what}"
        time.sleep(0.2)
    return value


def sensor_process(engine: Engine) -> psutil.Process | None:
    children = psutil.Process(engine.status().desk.engine.pid).children()
    return next((one for one in children if "nightdesk.engine.sensors" in one.cmdline()), None)


def test_samples_are_seldom_until_somebody_looks_and_come_from_one_process(desk: Desk) -> None:
    engine = ensure_engine(desk)
    process = wait_for(lambda: sensor_process(engine), "the sensor process")
    wait_for(
        lambda: any(one.elapsed_ns > 4 * NS for one in engine.samples(time.time_ns() - 600 * NS)),
        "a sample that is as long as nobody minds",
    )
    for change in engine.changes():
        if isinstance(change, SampleAdded) and change.sample.elapsed_ns < 3 * NS:
            break
    assert sensor_process(engine) == process
    assert process.children() == []


def test_a_hot_machine_that_hides_a_counter_is_told_to_whoever_asks_the_engine(desk: Desk) -> None:
    path = desk.folder / "nightdesk.toml"
    path.write_text(CONFIG.replace('source = "host"', 'source = "file"\nfile = "hot.plist"'))
    engine = ensure_engine(find_desk(desk.folder))

    def told() -> dict[str, str]:
        return {alarm.kind: alarm.words for alarm in engine.status().alarms}

    wait_for(lambda: "thermal" in told(), "the alarm")
    assert told() == {
        "thermal": "thermal pressure Heavy",
        "power_hidden": "CPU power reads 0 while cores work",
    }
