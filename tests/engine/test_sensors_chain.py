"""The sensor process with real children: stand-ins for sudo, powermetrics and macmon, found like the real ones."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.privileged import POWERMETRICS_ARGV
from nightdesk.engine.sensors.macmon import macmon_source
from nightdesk.engine.sensors.powermetrics import explain_powermetrics, powermetrics_source
from nightdesk.engine.sensors.program import NS, Limits, Program
from nightdesk.model.sample import Sample, SampleTaken, SensorLine, SensorStatus, sensor_decoder

DEADLINE_S = 20.0
F_SETPIPE_SZ = 1031
DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict>
<key>elapsed_ns</key><integer>1000000000</integer>
<key>processor</key><dict><key>cpu_power</key><real>1500</real><key>ane_power</key><real>0</real>
<key>clusters</key><array><dict><key>name</key><string>E-Cluster</string><key>cpus</key><array>
<dict><key>cpu</key><integer>0</integer><key>idle_ratio</key><real>0.5</real></dict>
</array></dict></array></dict>
<key>gpu</key><dict><key>freq_hz</key><real>338</real><key>idle_ratio</key><real>0.25</real></dict>
<key>thermal_pressure</key><string>Nominal</string>
</dict></plist>
"""
AS_ORDINARY_USER = (
    "import functools, os, sys; os.geteuid = lambda: 1000; "
    "import nightdesk.engine.sensors.__main__ as sensors; "
    "sensors.choose = functools.partial(sensors.choose, platform='darwin'); "
    "sensors.main(sys.argv[1:])"
)
"""Runs the sensor process as on a Mac and without root; only the host counters stay those of this machine."""


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {DEADLINE_S} s")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):  # a container without a real init keeps the dead
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return True


class Stage:
    """A folder on PATH with stand-ins, and what they noted about how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "document.plist").write_text(DOCUMENT)

    def program(self, name: str, body: str) -> str:
        """Puts a program there: it notes its arguments and its pid, then does ``body`` (Python)."""
        path = self.folder / name
        path.write_text(
            f"#!{sys.executable} -IS\n"
            "import os, sys, time\n"
            f"folder = {str(self.folder)!r}\n"
            f"with open(folder + '/{name}.calls', 'a') as calls:\n"
            "    calls.write(repr((os.getpid(), sys.argv[1:])) + '\\n')\n"
            f"document = open(folder + '/document.plist').read()\n"
            f"{body}\n"
        )
        path.chmod(0o755)
        return str(path)

    def calls(self, name: str) -> list[tuple[int, list[str]]]:
        path = self.folder / f"{name}.calls"
        return [eval(line) for line in path.read_text().splitlines()] if path.exists() else []


ENDLESS = """
first = True
while True:
    sys.stdout.write(('' if first else '\\0') + document)
    sys.stdout.flush()
    first = False
    time.sleep(0.05)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


class Sensors:
    """A running sensor process."""

    def __init__(self, stage: Stage, *arguments: str, mac: bool = True) -> None:
        program = ["-c", AS_ORDINARY_USER] if mac else ["-m", "nightdesk.engine.sensors"]
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": f"{stage.folder}:/usr/bin:/bin"},
        )

    def lines(self) -> Iterator[SensorLine]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield sensor_decoder.decode(line)

    def samples(self, source: str) -> Iterator[Sample]:
        return (
            one.sample for one in self.lines() if isinstance(one, SampleTaken) and one.sample.source == source
        )

    def failed(self) -> SensorStatus:
        return next(one for one in self.lines() if isinstance(one, SensorStatus) and one.state == "failed")

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def order(self, **words: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def sensors(stage: Stage) -> Iterator[Callable[..., Sensors]]:
    running: list[Sensors] = []

    def start(*arguments: str, mac: bool = True) -> Sensors:
        running.append(Sensors(stage, *arguments, mac=mac))
        return running[-1]

    yield start
    for one in running:
        one.finish()


# The whole chain: sensor process → sudo → powermetrics


def test_powermetrics_is_called_with_exactly_the_permitted_words(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program("sudo", ENDLESS)
    running = sensors("--source", "powermetrics")
    sample = next(running.samples("powermetrics"))
    assert stage.calls("sudo")[0][1] == ["-n", *POWERMETRICS_ARGV]
    assert sample.cpu is not None
    assert (sample.cpu.ratio, sample.cpu.power_w) == (0.5, 1.5)
    assert sample.devices[0].active_ratio == 0.75
    assert sample.thermal == "Nominal"
    assert sample.memory_total_bytes  # powermetrics says nothing of it, the machine's own counters do


@pytest.mark.parametrize("ending", ["end of input", "SIGTERM", "SIGINT", "SIGHUP"])
def test_the_sensor_process_ends_without_leaving_a_child(
    stage: Stage, sensors: Callable[..., Sensors], ending: str
) -> None:
    stage.program("sudo", ENDLESS)
    running = sensors()
    next(running.samples("powermetrics"))
    child = stage.calls("sudo")[0][0]
    assert alive(child)
    if ending == "end of input":
        running.close_input()
    else:
        running.process.send_signal(getattr(signal, ending))
    assert running.process.wait(DEADLINE_S) == 0
    assert not alive(child)


def test_powermetrics_ends_even_when_the_sensor_process_is_killed(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program("sudo", ENDLESS)
    running = sensors("--source", "powermetrics")
    next(running.samples("powermetrics"))
    child = stage.calls("sudo")[0][0]
    running.process.kill()
    running.finish()
    until(lambda: not alive(child), "the end of the child")


def test_a_powermetrics_that_sudo_put_out_of_reach_ends_at_its_next_word(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    real = stage.program("powermetrics", ENDLESS)
    stage.program(
        "sudo",
        "import signal, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([{real!r}], start_new_session=True).wait()",
    )
    running = sensors("--source", "powermetrics")
    next(running.samples("powermetrics"))
    (child,) = (pid for pid, _ in stage.calls("powermetrics"))
    running.close_input()
    assert running.process.wait(DEADLINE_S) == 0
    until(lambda: not alive(child), "the end of the program that no signal reaches")


def test_a_child_that_ignores_sigterm_is_killed(stage: Stage, sensors: Callable[..., Sensors]) -> None:
    stage.program("sudo", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + ENDLESS)
    running = sensors("--source", "powermetrics")
    next(running.samples("powermetrics"))
    child = stage.calls("sudo")[0][0]
    running.close_input()
    assert running.process.wait(DEADLINE_S) == 0
    assert not alive(child)


def test_a_required_password_is_one_sentence_with_the_remedy_and_host_counters_go_on(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program("sudo", "sys.exit('sudo: a password is required')")
    running = sensors("--interval-ms", "100")
    status = running.failed()
    assert status.source == "powermetrics"
    assert "sudo asks for a password" in str(status.message)
    assert "sudoers.d.example" in str(status.message)
    sample = next(running.samples("host"))
    assert sample.devices == ()
    assert sample.unknown["devices"] == status.message
    for _ in range(10):
        next(running.samples("host"))
    assert len(stage.calls("sudo")) == 1  # asking again every second would fill the system's log


def test_powermetrics_that_dies_is_started_again(stage: Stage, sensors: Callable[..., Sensors]) -> None:
    stage.program(
        "sudo", "sys.stdout.write(document); sys.stdout.flush(); sys.exit('assertion failed: beta')"
    )
    running = sensors("--source", "powermetrics")
    told = iter(running.lines())
    live = next(one for one in told if isinstance(one, SensorStatus) and one.state == "live")
    dead = next(one for one in told if isinstance(one, SensorStatus) and one.state == "failed")
    again = next(one for one in told if isinstance(one, SensorStatus) and one.state == "live")
    assert live.source == again.source == "powermetrics"
    assert "status 1: assertion failed: beta" in str(dead.message)
    pids = [pid for pid, _ in stage.calls("sudo")]
    assert len(pids) >= 2
    running.close_input()
    assert running.process.wait(DEADLINE_S) == 0
    assert not any(alive(pid) for pid in pids)


def test_macmon_is_preferred_and_powermetrics_takes_over_when_it_can_not_work(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program("macmon", "sys.exit('Error: no IOReport in a virtual machine')")
    stage.program("sudo", ENDLESS)
    running = sensors("--interval-ms", "200")
    next(running.samples("powermetrics"))
    assert len(stage.calls("macmon")) == 3
    assert stage.calls("macmon")[0][1] == ["pipe", "-s", "0", "-i", "200", "--soc-info"]


def test_an_old_macmon_is_started_again_without_the_option_it_lacks(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program(
        "macmon",
        "if '--soc-info' in sys.argv: sys.exit(\"error: unexpected argument '--soc-info' found\")\n"
        'print(\'{"gpu_power": 2.5, "cpu_power": 1.0, "gpu_usage": [500, 0.25]}\', flush=True); time.sleep(60)',
    )
    sample = next(sensors().samples("macmon"))
    assert sample.devices[0].power_w == 2.5
    assert sample.devices[0].scaled_ratio == 0.25


def test_the_pace_changes_on_an_order_and_nonsense_is_survived(
    stage: Stage, sensors: Callable[..., Sensors], capfd: pytest.CaptureFixture[str]
) -> None:
    running = sensors("--source", "host", "--interval-ms", "3600000", mac=False)
    samples = running.samples("host")
    next(samples)
    assert running.process.stdin is not None
    running.process.stdin.write(b'nonsense\n\n[1]\n{"interval_ms": "fast"}\n{"unknown": 1}\n')
    running.order(interval_ms=1)
    next(samples)
    third = next(samples)
    # A tenth of a second is the shortest; one that comes after a late one comes sooner.
    assert 20_000_000 < third.elapsed_ns < 30_000_000_000
    running.close_input()
    assert running.process.wait(DEADLINE_S) == 0
    complaints = capfd.readouterr().err.splitlines()
    assert len(complaints) == 3


def test_a_program_that_prints_faster_than_asked_is_thinned_out(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program("sudo", ENDLESS)
    samples = sensors("--source", "powermetrics", "--interval-ms", "800").samples("powermetrics")
    times = [next(samples).at_ns for _ in range(4)]
    assert all(later - earlier >= 250_000_000 for earlier, later in pairwise(times))


def test_a_driver_that_hangs_ends_the_process_so_that_a_new_one_can_be_started() -> None:
    code = (
        "import time, types; from nightdesk.engine.sensors import host, loop; loop.HANG_S = 1; "
        "stuck = types.SimpleNamespace(name='stuck', read=lambda now: time.sleep(600), close=lambda: None); "
        "loop.SensorLoop(host.open_host(), print, interval_ms=100, polled=[stuck]).run()"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=DEADLINE_S)
    assert ended.returncode == -signal.SIGALRM


def test_switched_off_sensors_say_so_once_and_wait(stage: Stage, sensors: Callable[..., Sensors]) -> None:
    running = sensors("--source", "off", "--interval-ms", "100", mac=False)
    lines = running.lines()
    assert next(lines) == SensorStatus(
        source="off", state="absent", message="The sensors are switched off in the configuration."
    )
    assert running.process.poll() is None
    running.close_input()
    assert list(lines) == []
    assert running.process.wait(DEADLINE_S) == 0


def test_a_reader_that_went_away_ends_the_process_quietly(
    stage: Stage, sensors: Callable[..., Sensors], capfd: pytest.CaptureFixture[str]
) -> None:
    running = sensors("--source", "host", "--interval-ms", "100", mac=False)
    assert running.process.stdout is not None
    running.process.stdout.readline()
    running.process.stdout.close()
    assert running.process.wait(DEADLINE_S) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can make a pipe small")
def test_sigterm_ends_a_process_whose_reader_never_reads(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    running = sensors("--source", "host", "--interval-ms", "100", mac=False)
    assert running.process.stdout is not None
    running.process.stdout.readline()
    fcntl.fcntl(running.process.stdout, F_SETPIPE_SZ, 4096)
    until(lambda: waiting_bytes(running.process.stdout) > 3000, "a full pipe")
    running.process.terminate()
    assert running.process.wait(DEADLINE_S) == 0


def waiting_bytes(pipe: Any) -> int:
    answer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, answer)
    return int.from_bytes(answer, sys.byteorder)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('unrecognized sampler: gpu_power')", "does not know a sampler"),
        ("sys.exit('powermetrics must be invoked as the superuser')", "powermetrics needs root"),
        ("sys.exit(1)", "powermetrics ended with status 1."),
        ("os.kill(os.getpid(), 6)", "powermetrics ended by signal 6."),
        ("while True: sys.stdout.write('x' * 65536)", "powermetrics floods"),
    ],
)
def test_each_failure_of_powermetrics_reaches_the_engine_as_its_sentence(
    stage: Stage, sensors: Callable[..., Sensors], body: str, words: str
) -> None:
    stage.program("sudo", body)
    running = sensors("--source", "powermetrics")
    assert words in str(running.failed().message)
    assert next(running.samples("host")).memory_total_bytes
    running.close_input()
    assert running.process.wait(DEADLINE_S) == 0
    assert not any(alive(pid) for pid, _ in stage.calls("sudo"))


REPORT = """<?xml version="1.0" ?>
<nvidia_smi_log><gpu id="0"><product_name>NVIDIA L4</product_name><uuid>GPU-1</uuid>
<utilization><gpu_util>57 %</gpu_util></utilization>
<gpu_power_readings><instant_power_draw>61.50 W</instant_power_draw></gpu_power_readings>
</gpu></nvidia_smi_log>
"""


def test_nvidia_smi_is_one_long_lived_child_with_a_pace_of_its_own(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program(
        "nvidia-smi", f"while True: sys.stdout.write({REPORT!r}); sys.stdout.flush(); time.sleep(0.05)"
    )
    running = sensors("--source", "nvidia-smi", "--interval-ms", "100", mac=False)
    samples = running.samples("nvidia-smi")
    for _ in range(3):
        (card,) = next(samples).devices
        assert (card.name, card.active_ratio, card.power_w) == ("NVIDIA L4", 0.57, 61.5)
    assert [arguments for _, arguments in stage.calls("nvidia-smi")] == [["-q", "-x", "-l", "2"]]
    running.close_input()
    assert running.process.wait(DEADLINE_S) == 0
    assert not alive(stage.calls("nvidia-smi")[0][0])


def test_a_missing_driver_is_said_once_and_nvidia_smi_is_not_started_over_and_over(
    stage: Stage, sensors: Callable[..., Sensors]
) -> None:
    stage.program("nvidia-smi", "sys.exit(9)")
    running = sensors("--source", "nvidia-smi", "--interval-ms", "100", mac=False)
    assert "can't reach the NVIDIA driver" in str(running.failed().message)
    samples = running.samples("host")
    for _ in range(10):
        next(samples)
    assert len(stage.calls("nvidia-smi")) == 1


def test_mactop_stands_in_for_macmon(stage: Stage, sensors: Callable[..., Sensors]) -> None:
    line = '{"soc_metrics": {"cpu_power": 1.0, "gpu_power": 2.5, "ane_power": 0, "gpu_active": 25}}'
    stage.program("mactop", f"print({line!r}, flush=True); time.sleep(60)")
    sample = next(sensors("--interval-ms", "500").samples("mactop"))
    assert (sample.devices[0].active_ratio, sample.package_power_w) == (0.25, 3.5)
    assert stage.calls("mactop")[0][1] == [
        "--headless",
        "--format",
        "json",
        "--interval",
        "500",
        "--count",
        "0",
    ]


# One program, driven step by step with short limits.


def drive(program: Program, done: Callable[[], Any]) -> list[Sample]:
    samples: list[Sample] = []

    def step() -> Any:
        samples.extend(program.step(time.monotonic_ns(), time.time_ns()))
        return done()

    until(step, "what the test waits for")
    return samples


@pytest.fixture
def source(stage: Stage) -> Iterator[Callable[..., Program]]:
    made: list[Program] = []

    def make(body: str, **limits: int) -> Program:
        path = stage.program("powermetrics", body)
        made.append(powermetrics_source(program=path, root=True, limits=Limits(**limits)))
        return made[-1]

    yield make
    for program in made:
        program.close()


def test_root_calls_powermetrics_without_sudo(stage: Stage, source: Callable[..., Program]) -> None:
    program = source(ENDLESS)
    assert drive(program, lambda: program.state == "live")[0].source == "powermetrics"
    assert stage.calls("powermetrics")[0][1] == list(POWERMETRICS_ARGV[1:])


def test_a_program_that_hangs_is_stopped_and_started_again(
    stage: Stage, source: Callable[..., Program]
) -> None:
    program = source("time.sleep(600)", silent_ns=NS, first_pause_ns=NS // 100)
    drive(program, lambda: program.state == "failed")
    assert program.problem == "powermetrics hangs: no measurement for 1 s. It was stopped."
    first = stage.calls("powermetrics")[0][0]
    assert not alive(first)
    drive(program, lambda: len(stage.calls("powermetrics")) >= 2)
    program.close()
    assert not any(alive(pid) for pid, _ in stage.calls("powermetrics"))
    assert program.files == ()


@pytest.mark.parametrize("where", ["stdout", "stderr"])
def test_a_program_that_floods_is_stopped(stage: Stage, source: Callable[..., Program], where: str) -> None:
    program = source(f"while True: sys.{where}.write('x' * 65536)", bytes_a_second=2_000_000)
    drive(program, lambda: program.state == "failed")
    assert program.problem is not None
    assert program.problem.startswith("powermetrics floods")
    assert not alive(stage.calls("powermetrics")[0][0])


def test_pauses_grow_up_to_a_limit(source: Callable[..., Program]) -> None:
    program = source("sys.exit(3)", first_pause_ns=NS, longest_pause_ns=4 * NS)

    def pause_after(now: int) -> int:
        program.step(now, 0)
        assert program.files
        until(lambda: program.step(now, 0) or not program.files, "the end of the program")
        assert program.state == "failed"
        assert program.wakes_ns is not None
        return program.wakes_ns - now

    now, pauses, hopeless = NS, [], []
    for _ in range(5):
        pauses.append(pause_after(now) // NS)
        hopeless.append(program.hopeless)
        now += pauses[-1] * NS
    assert pauses == [1, 2, 4, 4, 4]
    assert hopeless == [False, False, True, True, True]


def test_a_program_that_does_not_exist_is_explained() -> None:
    program = powermetrics_source(program="/nowhere/powermetrics", root=True)
    program.step(0, 0)
    assert program.state == "failed"
    assert "part of macOS" in str(program.problem)
    macmon = macmon_source("/nowhere/macmon", 1000)
    macmon.step(0, 0)
    assert macmon.problem == "macmon was not found on the search path. Install macmon: brew install macmon"


@pytest.mark.parametrize(
    ("complaint", "code", "words", "permanent"),
    [
        ("sudo: a password is required\n", 1, "sudo asks for a password", True),
        ("powermetrics must be invoked as the superuser\n", 1, "needs root", True),
        ("unrecognized sampler: gpu_power\n", 64, "unrecognized sampler: gpu_power", True),
        ("sudo: /usr/bin/powermetrics: command not found\n", 1, "part of macOS", True),
        ("you are not in the sudoers file.\n", 1, "sudo asks for a password", True),
        ("Second underflow occured.\n", -6, "by signal 6: Second underflow occured", False),
        ("", 0, "ended with status 0.", False),
        ("", None, "powermetrics ended.", False),
    ],
)
def test_each_known_ending_has_its_sentence(
    complaint: str, code: int | None, words: str, permanent: bool
) -> None:
    failure = explain_powermetrics(complaint, code)
    assert words in str(failure)
    assert failure.permanent is permanent
    assert failure.remedy
