"""Many chatty jobs, and the start of one, beside supervisord and circus in one run."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nightdesk.model.job import ENDED, StartRun
from tests.bench.desk import NIGHTDESK, Bench, running_desk
from tests.bench.machine import cpu_ratios, family
from tests.bench.peers import REMEDY, peer

CHATTY, SECONDS, SETTLE, ROUNDS = 20, 12, 4, 11
LONGEST = 120
"""Seconds after which a child falls silent that nobody told that it is enough."""
STAMP = """
import sys, time
open(sys.argv[1], "w").write(str(time.time_ns()))
"""
CHATTER = """
import os, sys, time
begin, count, blocked = time.perf_counter(), 0, 0.0
while not os.path.exists("enough") and time.perf_counter() - begin < float(sys.argv[2]):
    for _ in range(20):
        count += 1
        before = time.perf_counter()
        print(f"2026-01-01 02:03:04,567 INFO worker: item {count} of 60000 done, 1.7 s", flush=True)
        blocked += time.perf_counter() - before
    time.sleep(max(0, begin + count / 1000 - time.perf_counter()))
open(sys.argv[1], "w").write(f"{count / (time.perf_counter() - begin)} {blocked / count}")
"""
FILES = {"stamp.py": STAMP, "chatter.py": CHATTER}
Rows = list[tuple[str, str, str]]


@dataclass(frozen=True)
class Peer:
    """Another program that runs jobs."""

    daemon: str
    control: str
    words: tuple[str, ...]
    """Of the control program, before the name of what is to be started."""
    file: str
    arguments: tuple[str, ...]
    """Of the daemon."""
    configuration: Callable[[Path, int, int], list[str]]
    """Lines, given the folder, how many programs wait for their start, and how many talk from the beginning."""


def measure() -> Rows:
    """Rows: what, figure, target or comparison."""
    rows = [(f"{CHATTY} × 1,000 lines a second, each to a plain file", "–", _children(_alone()))]
    with running_desk(_config(CHATTY), FILES) as bench:
        time.sleep(3)
        rows.append(("the same below the desk", *_chatty_desk(bench)))
    for each in PEERS:
        name = f"the same below {each.daemon}"
        if _is_here(each):
            with _daemon(each, 0, CHATTY) as (folder, pid):
                rows.append((name, *_chatty_peer(folder, pid)))
        else:
            rows.append((name, "–", REMEDY))
    return rows + _start_rows()


def _is_here(each: Peer) -> bool:
    return bool(peer(each.daemon) and peer(each.control))


def _config(chatty: int) -> str:
    python = json.dumps(sys.executable)[1:-1]
    lines = ["[jobs.stamp]", f'command = "{python} stamp.py stamped"']
    for number in range(chatty):
        lines += [f"[jobs.chatty{number}]", f'command = "{python} chatter.py told{number} {LONGEST}"']
    return "\n".join(lines) + "\n"


# talking


def _children(told: list[tuple[float, float]]) -> str:
    rate, blocked = (statistics.mean(each) for each in zip(*told, strict=True))
    return f"a child writes {rate:.0f} lines a second, {blocked * 1e6:.1f} µs each"


def _told(folder: Path) -> list[tuple[float, float]]:
    """What the children say of themselves once they know that it is enough."""
    (folder / "enough").touch()
    limit = time.monotonic() + 60
    paths = [folder / f"told{number}" for number in range(CHATTY)]
    while not all(path.exists() and path.stat().st_size for path in paths):
        assert time.monotonic() < limit, "the talking children did not end"
        time.sleep(0.1)
    texts = [path.read_text(encoding="ascii").split() for path in paths]
    return [(float(rate), float(blocked)) for rate, blocked in texts]


def _alone() -> list[tuple[float, float]]:
    with _folder() as folder, contextlib.ExitStack() as files:
        children = [
            subprocess.Popen(
                [sys.executable, "chatter.py", f"told{number}", str(LONGEST)],
                cwd=folder,
                stdout=files.enter_context((folder / f"log{number}").open("wb")),
            )
            for number in range(CHATTY)
        ]
        time.sleep(SECONDS)
        told = _told(folder)
        for child in children:
            child.wait()
        return told


def _chatty_desk(bench: Bench) -> tuple[str, str]:
    folder = bench.desk.folder
    runs = [bench.engine.start(StartRun(job=f"chatty{number}")).id for number in range(CHATTY)]
    time.sleep(SETTLE)
    keepers = [pid for pid in map(int, _pids()) if f"keeper.py {folder}/" in _command(pid)]
    shares = cpu_ratios({"engine": [bench.pid], "keepers": keepers}, SECONDS)
    told = _told(folder)
    while any(bench.engine.run(run_id).state not in ENDED for run_id in runs):
        time.sleep(0.1)
    figure = f"engine {shares['engine'] * 100:.1f} %, keepers {shares['keepers'] * 100:.1f} % of a core"
    return figure, _children(told)


def _pids() -> Iterator[str]:
    return (path.name for path in Path("/proc").iterdir() if path.name.isdecimal())


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return raw.replace("\0", " ")


def _chatty_peer(folder: Path, pid: int) -> tuple[str, str]:
    """The daemon has started the talking children already."""
    time.sleep(SETTLE)
    own = [each for each in family(pid) if "chatter.py" not in _command(each)]
    share = cpu_ratios({"daemon": own}, SECONDS)["daemon"]
    return f"{share * 100:.1f} % of a core", _children(_told(folder))


# starts


def _start_rows() -> Rows:
    """All in turn, round after round: what the machine does beside them meets all alike."""
    with running_desk(_config(0), FILES) as bench, contextlib.ExitStack() as stack:
        here = bench.desk.folder
        ways: dict[str, tuple[Path, Callable[[int], object]]] = {
            "`Popen` to the first statement": (here, partial(_start_alone, here)),
            "API of the engine": (here, partial(_start_by_api, bench)),
            "`nightdesk run`": (here, partial(_start_by_verb, bench)),
        }
        for each in filter(_is_here, PEERS):
            folder, _ = stack.enter_context(_daemon(each, ROUNDS, 0))
            ways[f"`{each.control}`"] = (folder, partial(_start_by_peer, each, folder))
        time.sleep(3)
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS):
            for name, (folder, start) in ways.items():
                taken[name].append(_seconds_to_statement(folder, partial(start, number)))
    floor, *others = ((name, statistics.median(each)) for name, each in taken.items())
    rows = [(f"start: {floor[0]}", f"{floor[1] * 1000:.0f} ms", "floor")]
    for name, took in others:
        above = f"{(took - floor[1]) * 1000:+.0f} ms beside the floor"
        rows.append((f"start: {name}", f"{took * 1000:.0f} ms", above))
    return rows


def _seconds_to_statement(folder: Path, start: Callable[[], object]) -> float:
    """From the request to the first statement of the program."""
    stamped = folder / "stamped"
    stamped.unlink(missing_ok=True)
    limit = time.monotonic() + 30
    began = time.time_ns()
    start()
    while not (stamped.exists() and stamped.stat().st_size):
        assert time.monotonic() < limit, "the program did not start"
        time.sleep(0.005)
    taken = (int(stamped.read_text(encoding="ascii")) - began) / 1e9
    time.sleep(0.1)
    return taken


def _start_alone(folder: Path, _: int) -> None:
    subprocess.run([sys.executable, "stamp.py", "stamped"], cwd=folder, check=True)


def _start_by_api(bench: Bench, _: int) -> None:
    _until_ended(bench, bench.engine.start(StartRun(job="stamp")).id)


def _start_by_verb(bench: Bench, _: int) -> None:
    said = subprocess.run([NIGHTDESK, "run", "stamp", "--json"], check=True, capture_output=True)
    _until_ended(bench, json.loads(said.stdout)["id"])


def _until_ended(bench: Bench, run_id: str) -> None:
    while bench.engine.run(run_id).state not in ENDED:
        time.sleep(0.01)


def _start_by_peer(each: Peer, folder: Path, number: int) -> None:
    """Each round starts another program: circus notices an end only at its next look."""
    words = [peer(each.control) or each.control, *(word.format(folder=folder) for word in each.words)]
    subprocess.run([*words, f"stamp{number}"], cwd=folder, check=False, capture_output=True)


# peers


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        for path, text in FILES.items():
            (Path(name) / path).write_text(text, encoding="utf-8")
        yield Path(name)


@contextlib.contextmanager
def _daemon(each: Peer, waiting: int, chatty: int) -> Iterator[tuple[Path, int]]:
    """Folder and number of a daemon with so many programs that wait for their start and so many that talk."""
    with _folder() as folder, (folder / "daemon.log").open("wb") as file:
        lines = each.configuration(folder, waiting, chatty)
        (folder / each.file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        words = [peer(each.daemon) or each.daemon, *each.arguments]
        daemon = subprocess.Popen(words, cwd=folder, stdout=file, stderr=file)
        try:
            yield folder, daemon.pid
        finally:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _supervisord(here: Path, waiting: int, chatty: int) -> list[str]:
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
    for number in range(waiting):
        lines += [
            f"[program:stamp{number}]",
            f"command={sys.executable} stamp.py stamped",
            "autostart=false",
            "autorestart=false",
            "startsecs=0",
        ]
    for number in range(chatty):
        lines += [
            f"[program:chatty{number}]",
            f"command={sys.executable} chatter.py told{number} {LONGEST}",
            f"stdout_logfile={here}/log{number}",
            "autorestart=false",
        ]
    return lines


def _circus(here: Path, waiting: int, chatty: int) -> list[str]:
    ends = [f"endpoint = ipc://{here}/e", f"pubsub_endpoint = ipc://{here}/p"]
    lines = ["[circus]", *ends, "check_delay = 5"]
    for number in range(waiting):
        lines += [f"[watcher:stamp{number}]", f"cmd = {sys.executable} stamp.py stamped"]
        lines += ["autostart = False", "respawn = False", "copy_env = True"]
    for number in range(chatty):
        lines += [
            f"[watcher:chatty{number}]",
            f"cmd = {sys.executable} chatter.py told{number} {LONGEST}",
            "stdout_stream.class = FileStream",
            f"stdout_stream.filename = {here}/log{number}",
            "respawn = False",
            "copy_env = True",
        ]
    return lines


PEERS = (
    Peer("supervisord", "supervisorctl", ("-c", "c.conf", "start"), "c.conf", ("-c", "c.conf"), _supervisord),
    Peer("circusd", "circusctl", ("--endpoint", "ipc://{folder}/e", "start"), "c.ini", ("c.ini",), _circus),
)
