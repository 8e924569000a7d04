"""Many chatty jobs, and the start of one, beside supervisord and circus in one run."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from nightdesk.model.job import ENDED, StartRun
from tests.bench.desk import NIGHTDESK, Bench, running_desk
from tests.bench.machine import cpu_ratios, family
from tests.bench.peers import REMEDY, peer

CHATTY, SECONDS, SETTLE, ROUNDS = 20, 12, 4, 11
TALKS_FOR = SETTLE + SECONDS + 8
"""The jobs are started one after the other, which takes a while on a busy machine."""
STAMP = """
import sys, time
open(sys.argv[1], "w").write(str(time.time_ns()))
"""
CHATTER = """
import sys, time
begin, count, blocked = time.perf_counter(), 0, 0.0
while time.perf_counter() - begin < float(sys.argv[2]):
    for _ in range(20):
        count += 1
        before = time.perf_counter()
        print(f"2026-01-01 02:03:04,567 INFO worker: item {count} of 60000 done, 1.7 s", flush=True)
        blocked += time.perf_counter() - before
    time.sleep(max(0, begin + count / 1000 - time.perf_counter()))
open(sys.argv[1], "w").write(f"{count / (time.perf_counter() - begin)} {blocked / count}")
"""
Rows = list[tuple[str, str, str]]


def measure() -> Rows:
    """Rows: what, figure, target or comparison."""
    alone = _alone()
    rows = [("20 × 1,000 lines a second, each to a plain file", "–", _children(alone))]
    with running_desk(_config(), {"stamp.py": STAMP, "chatter.py": CHATTER}) as bench:
        time.sleep(3)
        rows.append(("the same below the desk", *_chatty_desk(bench)))
        api = _starts(lambda _: _start_by_api(bench))
        verb = _starts(lambda _: _start_by_verb(bench))
        floor = _starts(lambda _: _end(subprocess.Popen([sys.executable, "stamp.py", "stamped"])))
    starts = [
        ("start: `Popen` to the first statement", f"{floor * 1000:.0f} ms", "floor"),
        ("start: API of the engine", f"{api * 1000:.0f} ms", _above(api, floor)),
        ("start: `nightdesk run`", f"{verb * 1000:.0f} ms", _above(verb, floor)),
    ]
    for name, runs in (("supervisord", _supervisord), ("circus", _circus)):
        daemon, control = peer(name if name != "circus" else "circusd"), peer(CONTROLS[name])
        if not daemon or not control:
            rows.append((f"the same below {name}", "–", REMEDY))
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            Path("stamp.py").write_text(STAMP, encoding="utf-8")
            Path("chatter.py").write_text(CHATTER, encoding="utf-8")
            with runs(daemon) as (pid, verbs):
                figure, children = _chatty_peer(pid)
                rows.append((f"the same below {name}", figure, children))
                took = _starts(partial(_start_by_peer, [control, *verbs]))
                starts.append((f"start: `{CONTROLS[name]}`", f"{took * 1000:.0f} ms", _above(took, floor)))
    return rows + starts


CONTROLS = {"supervisord": "supervisorctl", "circus": "circusctl"}


def _above(seconds: float, floor: float) -> str:
    return f"{(seconds - floor) * 1000:+.0f} ms beside the floor"


def _config() -> str:
    python = json.dumps(sys.executable)[1:-1]
    lines = ["[jobs.stamp]", f'command = "{python} stamp.py stamped"']
    for number in range(CHATTY):
        lines += [
            f"[jobs.chatty{number}]",
            f'command = "{python} chatter.py told{number} {TALKS_FOR}"',
        ]
    return "\n".join(lines) + "\n"


def _children(told: list[tuple[float, float]]) -> str:
    rate, blocked = (statistics.mean(each) for each in zip(*told, strict=True))
    return f"a child writes {rate:.0f} lines a second, {blocked * 1e6:.1f} µs each"


def _told() -> list[tuple[float, float]]:
    limit = time.monotonic() + 30
    paths = [Path(f"told{number}") for number in range(CHATTY)]
    while not all(path.exists() and path.stat().st_size for path in paths):
        assert time.monotonic() < limit, "the talking children did not end"
        time.sleep(0.1)
    texts = [path.read_text(encoding="ascii").split() for path in paths]
    return [(float(rate), float(blocked)) for rate, blocked in texts]


def _alone() -> list[tuple[float, float]]:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.ExitStack() as files:
        Path("chatter.py").write_text(CHATTER, encoding="utf-8")
        children = [
            subprocess.Popen(
                [sys.executable, "chatter.py", f"told{number}", str(TALKS_FOR)],
                stdout=files.enter_context(Path(f"log{number}").open("wb")),
            )
            for number in range(CHATTY)
        ]
        for child in children:
            child.wait()
        return _told()


def _chatty_desk(bench: Bench) -> tuple[str, str]:
    runs = [bench.engine.start(StartRun(job=f"chatty{number}")).id for number in range(CHATTY)]
    time.sleep(SETTLE)
    keepers = [pid for pid in map(int, _pids()) if "keeper.py" in _command(pid)]
    shares = cpu_ratios({"engine": [bench.pid], "keepers": keepers}, SECONDS)
    told = _told()
    while any(bench.engine.run(run_id).state not in ENDED for run_id in runs):
        time.sleep(0.1)
    figure = f"engine {shares['engine'] * 100:.1f} %, keepers {shares['keepers'] * 100:.1f} % of a core"
    return figure, _children(told)


def _pids() -> Iterator[str]:
    return (path.name for path in Path("/proc").iterdir() if path.name.isdecimal())


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _chatty_peer(pid: int) -> tuple[str, str]:
    """The daemon has started the talking children already."""
    time.sleep(SETTLE)
    own = [each for each in family(pid) if "chatter.py" not in _command(each)]
    share = cpu_ratios({"daemon": own}, SECONDS)["daemon"]
    return f"{share * 100:.1f} % of a core", _children(_told())


# starts


def _starts(start: Callable[[int], object]) -> float:
    """Median seconds from the request to the first statement of the program; ``start`` is given the round."""
    taken = []
    stamped = Path("stamped")
    for number in range(ROUNDS):
        stamped.unlink(missing_ok=True)
        limit = time.monotonic() + 20
        began = time.time_ns()
        start(number)
        while not (stamped.exists() and stamped.stat().st_size):
            assert time.monotonic() < limit, "the program did not start"
            time.sleep(0.005)
        taken.append((int(stamped.read_text(encoding="ascii")) - began) / 1e9)
        time.sleep(0.3)
    return statistics.median(taken)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.wait()


def _start_by_api(bench: Bench) -> None:
    _until_ended(bench, bench.engine.start(StartRun(job="stamp")).id)


def _start_by_verb(bench: Bench) -> None:
    said = subprocess.run([NIGHTDESK, "run", "stamp", "--json"], check=True, capture_output=True)
    _until_ended(bench, json.loads(said.stdout)["id"])


def _until_ended(bench: Bench, run_id: str) -> None:
    while bench.engine.run(run_id).state not in ENDED:
        time.sleep(0.01)


def _start_by_peer(words: list[str], number: int) -> None:
    """Each round starts another program: circus notices an end only at its next look."""
    with subprocess.Popen(
        [*words, f"stamp{number}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as command:
        command.wait()


# peers


@contextlib.contextmanager
def _supervisord(daemon: str) -> Iterator[tuple[int, list[str]]]:
    here = os.getcwd()  # noqa: PTH109 - the name as the daemon wants it
    lines = [
        "[unix_http_server]",
        f"file={here}/s.sock",
        "[supervisord]",
        "nodaemon=true",
        f"logfile={here}/d.log",
        f"pidfile={here}/d.pid",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisorctl]",
        f"serverurl=unix://{here}/s.sock",
    ]
    for number in range(ROUNDS):
        lines += [
            f"[program:stamp{number}]",
            f"command={sys.executable} stamp.py stamped",
            "autostart=false",
            "autorestart=false",
            "startsecs=0",
        ]
    for number in range(CHATTY):
        lines += [
            f"[program:chatty{number}]",
            f"command={sys.executable} chatter.py told{number} {TALKS_FOR}",
            f"stdout_logfile={here}/log{number}",
            "autorestart=false",
        ]
    Path("c.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with _daemon([daemon, "-c", "c.conf"]) as pid:
        yield pid, ["-c", "c.conf", "start"]


@contextlib.contextmanager
def _circus(daemon: str) -> Iterator[tuple[int, list[str]]]:
    here = os.getcwd()  # noqa: PTH109 - the name as the daemon wants it
    endpoint = f"ipc://{here}/e"
    lines = ["[circus]", f"endpoint = {endpoint}", f"pubsub_endpoint = ipc://{here}/p", "check_delay = 5"]
    for number in range(ROUNDS):
        lines += [f"[watcher:stamp{number}]", f"cmd = {sys.executable} stamp.py stamped"]
        lines += ["autostart = False", "respawn = False", "copy_env = True"]
    for number in range(CHATTY):
        lines += [
            f"[watcher:chatty{number}]",
            f"cmd = {sys.executable} chatter.py told{number} {TALKS_FOR}",
            "stdout_stream.class = FileStream",
            f"stdout_stream.filename = {here}/log{number}",
            "respawn = False",
            "copy_env = True",
        ]
    Path("c.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with _daemon([daemon, "c.ini"]) as pid:
        yield pid, ["--endpoint", endpoint, "start"]


@contextlib.contextmanager
def _daemon(words: list[str]) -> Iterator[int]:
    with Path("daemon.log").open("wb") as file:
        daemon = subprocess.Popen(words, stdout=file, stderr=file)
        try:
            yield daemon.pid
        finally:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
